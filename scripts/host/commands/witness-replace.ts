import { parseArgs } from "node:util";
import { type Command, printJson, readStdin, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { readAccounts, readEntry } from "../read.ts";
import { ACCEPT_OPTIONS, parseAccepted } from "../recovery/arguments.ts";
import { mayReplaceMark } from "../recovery/decide.ts";
import { Refusal } from "../stage.ts";
import { type Mark, parseMark } from "../witness/mark.ts";
import { nodeDirectory, replaceMark } from "../witness/store.ts";

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
  usage: "witness-replace [--lower-to VERSION] [--replace-node ID]… < MARK",
  summary:
    "put the mark that 'witness-rebuild' has made in place of the one on this host; a higher one, or another node's, only if it was named",
  async run(args) {
    const { values } = parseArgs({ args: [...args], options: ACCEPT_OPTIONS });
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
    const accepted = parseAccepted(values);
    const before = await replaceMark(mark, (found) => mayReplaceMark(found, mark, "this host", accepted));
    printJson({ node, before, mark });
    return EXIT.ok;
  },
};
