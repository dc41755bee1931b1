import { type Command, expectArguments, requireRoot } from "../command.ts";
import { recoverUnderLock } from "../run-request.ts";
import { Refusal } from "../stage.ts";

export const restore: Command = {
  usage: "restore replica",
  summary: "copy the replica to main, after checking it; the damaged main is kept aside; starts nothing",
  async run(args) {
    expectArguments(restore, args, 1);
    requireRoot();
    if (args[0] !== "replica")
      throw new Refusal({
        code: "HOST-ARGUMENTS",
        what: "only the replica can be restored",
        received: args[0] ?? "nothing",
        why: "other copies are older than what the node has acknowledged",
        fix: `run ${restore.usage}`,
      });
    return recoverUnderLock({ verb: "restore" });
  },
};
