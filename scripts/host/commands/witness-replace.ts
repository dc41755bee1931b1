import { join } from "node:path";
import { type Command, expectArguments, printJson, readStdin, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { writeFileDurably } from "../files.ts";
import { readAccounts, readEntry } from "../read.ts";
import { Refusal } from "../stage.ts";
import { type Mark, parseMark } from "../witness/mark.ts";
import { nodeDirectory, readMark } from "../witness/store.ts";

function refuse(what: string, received: string, fix: string): never {
  throw new Refusal({
    code: "WITNESS-REPLACE",
    what,
    received,
    why: "a wrong mark refuses a right wallet, or lets an old one start",
    fix,
  });
}

function parse(text: string): Mark {
  try {
    return parseMark(text);
  } catch (error) {
    return refuse(
      "stdin holds no mark",
      error instanceof Error ? error.message : String(error),
      "give the mark that 'witness-rebuild' prints",
    );
  }
}

export const witnessReplace: Command = {
  usage: "witness-replace < MARK",
  summary: "put the mark that 'witness-rebuild' has made in place of the one on this host, whatever that says",
  async run(args) {
    expectArguments(witnessReplace, args, 0);
    requireRoot();
    const mark = parse(await readStdin());
    const { node } = mark;
    const directory = nodeDirectory(node);
    const place = await readEntry(directory, await readAccounts());
    if (place?.kind !== "directory")
      refuse(
        `this host has no place for the marks of ${node}`,
        directory,
        "apply the witness stage of this host first",
      );
    const before = await readMark(node);
    const { owner, group } = place;
    await writeFileDurably(join(directory, "mark.json"), `${JSON.stringify(mark)}\n`, { owner, group, mode: "0600" });
    printJson({ node, before, mark });
    return EXIT.ok;
  },
};
