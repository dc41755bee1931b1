import { parseArgs } from "node:util";
import { type Command, requireRoot } from "../command.ts";
import { requireReason, requireSubject } from "../recovery/arguments.ts";
import { recoverUnderLock } from "../run-request.ts";

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
    return recoverUnderLock({ verb: "resync", reason: requireReason(values.reason) });
  },
};
