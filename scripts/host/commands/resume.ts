import { type Command, expectArguments, requireRoot } from "../command.ts";
import { recoverUnderLock } from "../run-request.ts";

export const resume: Command = {
  usage: "resume",
  summary: "start lightningd again if 'witness-rebuild', or a repair that was killed, has stopped it",
  async run(args) {
    expectArguments(resume, args, 0);
    requireRoot();
    return recoverUnderLock({ verb: "resume" });
  },
};
