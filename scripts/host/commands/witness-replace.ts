import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Command, printJson, readStdin, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { writeFileDurably } from "../files.ts";
import { readAccounts, readEntry } from "../read.ts";
import { Refusal } from "../stage.ts";
import { type Mark, parseMark } from "../witness/mark.ts";
import { nodeDirectory, readMark, type StoredMark } from "../witness/store.ts";

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

/**
 * The mark that is here may have come after the rebuild had asked for it, so it is compared again: it goes down only to what the operator named.
 * @throws {Refusal}
 */
export function mayReplaceMark(before: StoredMark, mark: Mark, lowerTo: string | undefined): void {
  if (before.state !== "mark" || before.mark.nodeId !== mark.nodeId) return;
  if (before.mark.dataVersion <= mark.dataVersion || lowerTo === `${mark.dataVersion}`) return;
  throw new Refusal({
    code: "WITNESS-REPLACE-LOWERS",
    what: "the mark on this host has seen more than the one that would take its place",
    received: `data_version ${before.mark.dataVersion} (${before.mark.source}, ${before.mark.at}), new: ${mark.dataVersion}`,
    why: "main is older than what the node has acknowledged: an old state makes the peer take all the money",
    fix: `restore a newer copy; if there is none and you accept the loss: ./twofold witness rebuild --lower-to ${mark.dataVersion}`,
  });
}

export const witnessReplace: Command = {
  usage: "witness-replace [--lower-to VERSION] < MARK",
  summary:
    "put the mark that 'witness-rebuild' has made in place of the one on this host; one that is higher only to the version that was named",
  async run(args) {
    const { values } = parseArgs({ args: [...args], options: { "lower-to": { type: "string" } } });
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
    mayReplaceMark(before, mark, values["lower-to"]);
    const { owner, group } = place;
    await writeFileDurably(join(directory, "mark.json"), `${JSON.stringify(mark)}\n`, { owner, group, mode: "0600" });
    printJson({ node, before, mark });
    return EXIT.ok;
  },
};
