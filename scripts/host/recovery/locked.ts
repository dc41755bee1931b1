/** Work on the wallet's files with lightningd stopped and kept from starting. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { EXIT, LIGHTNINGD, type LightningdDocument, NODE_STATE, RUNTIME_DIRECTORY } from "../contract.ts";
import { describeError } from "../errors.ts";
import { writeFileDurably } from "../files.ts";
import { runAs } from "../gate/account.ts";
import { startLightningd, stopLightningd } from "../lightningd/service.ts";
import { isUp, readUnitState, type UnitState } from "../lightningd/unit.ts";
import { ROOT_FILE } from "../planning.ts";
import { readText } from "../read.ts";
import { Refusal } from "../stage.ts";

export type Say = (line: string) => void;

/**
 * Runs a command of this very program as the node's user while this process holds the start lock, and returns what it printed on stdout;
 * what it prints on stderr is said as it comes.
 * @throws {Refusal} if a gate, lightningd or another repair holds the lock
 */
export async function underStartLock(document: LightningdDocument, args: readonly string[], say: Say): Promise<string> {
  const program = [process.execPath, process.argv[1] ?? "", ...args];
  const flock = [
    "--nonblock",
    "--conflict-exit-code",
    `${EXIT.temporary}`,
    "--no-fork",
    NODE_STATE.startLock,
    ...program,
  ];
  const ran = await runAs(document.user, document.group, "flock", flock, {
    onLine: (line, stream) => stream === "stderr" && say(line),
  });
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
 * The start of lightningd that a repair has ended, and owes. A repair that is killed leaves it, so that the next one starts the node too; gone
 * at a reboot, when the enabled unit starts by itself.
 */
const OWED = join(RUNTIME_DIRECTORY, "start-owed");

/** Nobody has started the unit since, or what is owed was given. */
const isOwed = async (unit: UnitState) => !isUp(unit) && (await readText(OWED)) === unit.invocation;

/** Stops the node. Returns whether {@link startOwed} has to start it again: it ran, or an interrupted repair has stopped it. */
export async function stopForRepair(say: Say): Promise<boolean> {
  const unit = await readUnitState();
  if (!isUp(unit)) return isOwed(unit);
  await writeFileDurably(OWED, unit.invocation, ROOT_FILE);
  await stopLightningd({ progress: say });
  return true;
}

/** Starts the node if a repair has stopped it. @throws if the gate refuses or lightningd fails */
export async function startOwed(say: Say): Promise<void> {
  if (!(await isOwed(await readUnitState()))) return;
  try {
    await startLightningd({ progress: say });
  } finally {
    await forgetOwedStart();
  }
}

/** The operator wants it stopped. */
export const forgetOwedStart = () => rm(OWED, { force: true });

/** The gate decides what may start after a repair that failed; its refusal must not hide why the repair failed. */
export async function startAfterFailure(say: Say): Promise<void> {
  await startOwed(say).catch((error) => say(describeError(error).text));
}

/**
 * Stops the node, works, and starts it again if it ran, however the work ended: a repair that can't be done must not leave the node standing,
 * and whether it may start is the gate's to say.
 */
export async function whileStopped<T>(say: Say, work: () => Promise<T>): Promise<T> {
  const stopped = await stopForRepair(say);
  let result: T;
  try {
    result = await work();
  } catch (error) {
    if (stopped) await startAfterFailure(say);
    throw error;
  }
  if (stopped) await startOwed(say);
  return result;
}
