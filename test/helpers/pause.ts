/** Freezes a container and lets it go on (docker-pause(1)). */
import { eventually } from "./lab.ts";
import { outputOf, runProgram } from "./run-program.ts";

/** Seconds for the kernel to freeze a container. */
const FREEZE_SECONDS = 30;

/**
 * runc gives up with "unable to freeze" where the kernel has not frozen every process after some hundred looks, as while many of them
 * wait for a disk on a busy machine; nothing is frozen then, and it is asked again.
 */
export async function pauseContainer(container: string): Promise<void> {
  await eventually(`${container} is paused`, FREEZE_SECONDS, async () => {
    if ((await statusOf(container)) !== "paused") await docker("pause", container);
    return (await statusOf(container)) === "paused";
  });
}

export async function resumeContainer(container: string): Promise<void> {
  await docker("unpause", container);
  const status = await statusOf(container);
  if (status !== "running") throw new Error(`${container} did not resume: it is ${status}`);
}

const statusOf = (container: string) => docker("inspect", "--format", "{{.State.Status}}", container);

const docker = async (...words: string[]) => outputOf(await runProgram("docker", words)).trim();
