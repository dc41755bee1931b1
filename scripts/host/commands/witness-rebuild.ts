import { parseArgs } from "node:util";
import { type Command, requireRoot } from "../command.ts";
import { ACCEPT_OPTIONS, parseAccepted, requireReason } from "../recovery/arguments.ts";
import { recoverUnderLock } from "../run-request.ts";

export const witnessRebuild: Command = {
  usage: "witness-rebuild --reason TEXT [--lower-to VERSION] [--replace-node ID]…",
  summary:
    "stop the node, compare all copies, make the mark anew from main and write that down; also takes on a wallet that was brought here. 'resume' starts the node again",
  async run(args) {
    requireRoot();
    const { values } = parseArgs({ args: [...args], options: { reason: { type: "string" }, ...ACCEPT_OPTIONS } });
    return recoverUnderLock({
      verb: "witness-rebuild",
      reason: requireReason(values.reason),
      ...parseAccepted(values),
    });
  },
};
