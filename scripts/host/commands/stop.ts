import { type Command, requireRoot } from "../command.ts";
import { EXIT, RUNTIME_DIRECTORY } from "../contract.ts";
import { ensureOwnDirectory } from "../files.ts";
import { stopLightningd } from "../lightningd/service.ts";
import { must } from "../process.ts";
import { forgetOwedStart } from "../recovery/locked.ts";
import { currentHolder, LOCK } from "../run-request.ts";
import { Refusal } from "../stage.ts";

/** Lets a run that is still at work finish: it could start again what is stopped here. */
async function awaitHostLock(): Promise<void> {
  const holder = await currentHolder();
  if (holder) console.log(`waiting for the run of ${holder.title} that is at work since ${holder.since}`);
  await ensureOwnDirectory(RUNTIME_DIRECTORY);
  await must("flock", [LOCK, "true"]);
}

export const stop: Command = {
  usage: "stop lightningd",
  summary: "stop lightningd and wait until its last process is gone; leaves its data and its unit as they are",
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
    await awaitHostLock();
    await forgetOwedStart();
    await stopLightningd({ progress: (line) => console.log(line) });
    return EXIT.ok;
  },
};
