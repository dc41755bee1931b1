/** Work on the wallet's files with lightningd stopped and kept from starting. */
import { EXIT, LIGHTNINGD, type LightningdDocument, NODE_STATE } from "../contract.ts";
import { runAs } from "../gate/account.ts";
import { startLightningd, stopLightningd } from "../lightningd/service.ts";
import { isUp, readUnitState } from "../lightningd/unit.ts";
import { Refusal } from "../stage.ts";

export type Say = (line: string) => void;

/**
 * Runs a command of this very program as the node's user while this process holds the start lock, and returns what it printed.
 * @throws {Refusal} if a gate, lightningd or another repair holds the lock
 */
export async function underStartLock(document: LightningdDocument, args: readonly string[]): Promise<string> {
  const program = [process.execPath, process.argv[1] ?? "", ...args];
  const flock = [
    "--nonblock",
    "--conflict-exit-code",
    `${EXIT.temporary}`,
    "--no-fork",
    NODE_STATE.startLock,
    ...program,
  ];
  const ran = await runAs(document.user, document.group, "flock", flock);
  process.stderr.write(ran.stderr);
  if (ran.status === EXIT.ok) return ran.stdout;
  if (ran.status === EXIT.temporary)
    throw new Refusal({
      code: "NODE-NOT-STOPPED",
      what: "the node's start lock is held",
      received: NODE_STATE.startLock,
      why: "lightningd, its gate or another repair works on the wallet's files",
      fix: `systemctl stop ${LIGHTNINGD.unit}, then run this again`,
    });
  throw new WorkFailed(ran.status);
}

/** The work has said why on stderr; its status is this command's. */
export class WorkFailed extends Error {
  readonly status: number;
  constructor(status: number) {
    super(`the work under the start lock ended with status ${status}`);
    this.status = status;
  }
}

/**
 * Stops the node, works, and starts it again if it ran, also when the work was refused: a repair that can't be done must not leave
 * the node standing. Not when the work failed half-way: then the gate, at the next start by hand, says what is in the way.
 */
export async function whileStopped<T>(say: Say, work: () => Promise<T>): Promise<T> {
  const wasUp = isUp(await readUnitState());
  const context = { progress: say };
  if (wasUp) await stopLightningd(context);
  try {
    const result = await work();
    if (wasUp) await startLightningd(context);
    return result;
  } catch (error) {
    const refused = error instanceof Refusal || (error instanceof WorkFailed && error.status === EXIT.refused);
    if (wasUp && refused) await startLightningd(context);
    throw error;
  }
}
