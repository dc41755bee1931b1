import { parseArgs } from "node:util";
import { type Command, printJson, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { readSqliteGateDocument } from "../gate/state.ts";
import { requireReason, requireSubject } from "../recovery/arguments.ts";
import { WorkFailed } from "../recovery/locked.ts";
import { resync as resyncReplica } from "../recovery/resync.ts";

export const resync: Command = {
  usage: "resync replica --reason TEXT",
  summary: "stop the node, copy main to the replica, compare, start the node; what was there is kept aside",
  async run(args) {
    requireRoot();
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { reason: { type: "string" } },
      allowPositionals: true,
    });
    requireSubject(resync, positionals, ["replica"]);
    const reason = requireReason(values.reason);
    const document = await readSqliteGateDocument();
    try {
      printJson(await resyncReplica(document, reason, (line) => console.error(line)));
      return EXIT.ok;
    } catch (error) {
      if (error instanceof WorkFailed) return error.status;
      throw error;
    }
  },
};
