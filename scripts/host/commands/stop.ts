import { type Command, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { disableLightningd, stopLightningd } from "../lightningd/service.ts";
import { forgetOwedStart } from "../recovery/locked.ts";
import { awaitHostLock } from "../run-request.ts";
import { Refusal } from "../stage.ts";

export const stop: Command = {
  usage: "stop lightningd",
  summary:
    "stop lightningd for good: not started at boot any more, and its last process gone; leaves its data as they are",
  async run(args) {
    if (args.length !== 1 || args[0] !== "lightningd")
      throw new Refusal({
        code: "HOST-ARGUMENTS",
        what: "only lightningd can be stopped",
        received: args.join(" ") || "nothing",
        why: "the other stages have no process of their own, and their disks and copies are never given up by a stop",
        fix: "run stop lightningd",
      });
    requireRoot();
    const say = (line: string) => console.log(line);
    const context = { progress: say };
    // A run that is still at work could start again what is stopped here.
    await awaitHostLock(say);
    await forgetOwedStart();
    // First: if the host dies before lightningd is gone, it must not come back with it.
    await disableLightningd(context);
    await stopLightningd(context);
    return EXIT.ok;
  },
};
