import { type Command, printJson } from "../command.ts";
import { EXIT } from "../contract.ts";
import { readGateDocument, readSqliteGateDocument } from "../gate/state.ts";
import { rebuildWitness, restoreReplica, resyncReplica } from "../recovery/work.ts";

const say = (line: string) => console.error(line);

/** Runs as the node's user under the start lock; the commands restore, resync, witness-rebuild and degrade start it. */
export const repairWork: Command = {
  usage: "repair-work restore|resync|rebuild …",
  summary: "the part of a repair that works on the wallet's files (internal)",
  async run([kind, reason = "", lowerTo]) {
    switch (kind) {
      case "restore":
        printJson(await restoreReplica(await readSqliteGateDocument(), say));
        return EXIT.ok;
      case "resync":
        printJson(await resyncReplica(await readSqliteGateDocument(), say));
        return EXIT.ok;
      case "rebuild":
        printJson(
          await rebuildWitness(
            await readGateDocument(),
            reason,
            lowerTo === undefined ? undefined : Number(lowerTo),
            say,
          ),
        );
        return EXIT.ok;
      default:
        throw new Error(`repair-work: there is no work '${kind}'`);
    }
  },
};
