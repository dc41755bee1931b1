import { type Command, printJson } from "../command.ts";
import { EXIT } from "../contract.ts";
import { readGateDocument, readSqliteGateDocument } from "../gate/state.ts";
import type { RebuildRequest } from "../recovery/tasks.ts";
import { rebuildWitness, restoreReplica, resyncReplica } from "../recovery/work.ts";

const say = (line: string) => console.error(line);

/** Runs as the node's user under the start lock; the repairs of recovery/tasks.ts start it. */
export const repairWork: Command = {
  usage: "repair-work restore|resync|rebuild [REQUEST]",
  summary: "the part of a repair that works on the wallet's files (internal)",
  async run([kind, request = ""]) {
    switch (kind) {
      case "restore":
        printJson(await restoreReplica(await readSqliteGateDocument(), say));
        return EXIT.ok;
      case "resync":
        printJson(await resyncReplica(await readSqliteGateDocument(), say));
        return EXIT.ok;
      case "rebuild":
        printJson(await rebuildWitness(await readGateDocument(), JSON.parse(request) as RebuildRequest, say));
        return EXIT.ok;
      default:
        throw new Error(`repair-work: there is no work '${kind}'`);
    }
  },
};
