/** Starting, restarting and stopping lightningd, with the operator told what it waits for. */
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { EXIT, LIGHTNINGD } from "../contract.ts";
import { must, run } from "../process.ts";
import type { ApplyContext } from "../stage.ts";
import { isUp, readUnitState, type UnitState } from "./unit.ts";

const POLL_MS = 250;
/** How long a start is followed. A chain backend or a replica's host may take longer; the unit goes on by itself. */
const START_DEADLINE_MS = 120_000;
/** Starts that fail within the deadline until it counts as a failure that won't go away by itself. */
const FAILED_STARTS = 2;
/** systemd's own TimeoutStopSec=10min, and time for it to kill what is left. */
const STOP_DEADLINE_MS = 11 * 60_000;

/** Exit statuses on which the unit is not started again, in words (the gate; Core Lightning's common/errcode.h). */
const FINAL_STATUS: Record<number, string> = {
  [EXIT.gateRefused]: "the gate refused",
  11: "another lightningd holds the pid file",
  20: "hsm_secret can't be used",
  21: "hsm_secret is encrypted",
  22: "the passphrase of hsm_secret is wrong",
  23: "no passphrase for hsm_secret could be read",
  24: "hsm_secret can't be used",
  30: "the wallet belongs to another node or network",
};

/** What the end with this status means. */
export const describeFinalStatus = (status: number): string => FINAL_STATUS[status] ?? `it ended with status ${status}`;

/** The newest lines of gate and lightningd themselves; systemd's own lines about the unit would hide them. */
async function lastLines(count: number): Promise<string[]> {
  const matches = [`_SYSTEMD_UNIT=${LIGHTNINGD.unit}`, "SYSLOG_IDENTIFIER=lightningd"];
  const args = ["--lines", String(count), "--output", "cat", "--no-pager", "--quiet", ...matches];
  const { stdout } = await run("journalctl", args);
  return stdout.trim() === "" ? [] : stdout.trim().split("\n");
}

async function fail(what: string): Promise<never> {
  const lines = await lastLines(25);
  throw new Error(
    `${what}\n  its last lines:\n${lines.map((line) => `    ${line}`).join("\n")}\n` +
      `  to do: put right what they say; then run this again, or 'systemctl start ${LIGHTNINGD.unit}' on the host`,
  );
}

/** True once lightningd itself, not the gate, answers. */
async function answers(): Promise<boolean> {
  const cli = [`${LIGHTNINGD.programs}/lightning-cli`, `--conf=${LIGHTNINGD.config}`, "getinfo"];
  const { status } = await run("timeout", ["--kill-after=1", "10", ...cli]);
  return status === 0;
}

/** Prints the newest line of gate or lightningd when it is another than before, at most every five seconds. */
async function journalFollower(context: ApplyContext) {
  let next = 0;
  let [last = ""] = await lastLines(1);
  return async () => {
    if (Date.now() < next) return;
    next = Date.now() + 5000;
    const [line = ""] = await lastLines(1);
    // lightning-cli's answers to the unit's ExecStop= are among them: brackets alone tell nothing.
    if (/\w/.test(line) && line !== last) context.progress(`lightningd: ${line}`);
    last = line;
  };
}

/**
 * Follows a start until lightningd answers.
 * @param before the unit as it was before the start was asked for
 * @throws if the start was refused or fails again and again
 */
async function followStart(before: UnitState, context: ApplyContext): Promise<void> {
  const follow = await journalFollower(context);
  const deadline = Date.now() + START_DEADLINE_MS;
  // systemd forgets the status of a failed start with the next one.
  let failedWith = 0;
  while (Date.now() < deadline) {
    const unit = await readUnitState();
    const begun = unit.invocation !== before.invocation;
    if (begun && unit.lastStatus !== 0) failedWith = unit.lastStatus;
    if (begun && unit.active === "failed")
      await fail(`lightningd did not start: ${describeFinalStatus(unit.lastStatus)}`);
    if (begun && unit.active === "inactive") await fail("lightningd ended right after its start");
    if (begun && unit.restarts >= FAILED_STARTS && failedWith !== EXIT.temporary)
      await fail(`lightningd ends with status ${failedWith} each time it is started; systemd goes on trying`);
    if (begun && unit.active === "active" && (await answers())) {
      context.progress(`lightningd answers, process ${unit.mainPid}`);
      return;
    }
    await follow();
    await delay(POLL_MS);
  }
  const [line = "nothing"] = await lastLines(1);
  context.progress(`lightningd does not answer yet; the unit goes on by itself. It last said: ${line}`);
}

/** @throws if the gate refuses or lightningd fails */
export async function startLightningd(context: ApplyContext): Promise<void> {
  const before = await readUnitState();
  if (isUp(before)) return;
  // A refusal of an earlier start is no reason not to try this one.
  await run("systemctl", ["reset-failed", LIGHTNINGD.unit]);
  await must("systemctl", ["start", "--no-block", LIGHTNINGD.unit]);
  await followStart(before, context);
}

/** Restarts the start `invocation`; does nothing if that one is over. */
export async function restartLightningd(invocation: string, context: ApplyContext): Promise<void> {
  const before = await readUnitState();
  if (before.invocation !== invocation) return;
  await stopLightningd(context);
  await startLightningd(context);
}

/** Stops lightningd and waits until its last process is gone; one that isn't running is fine. */
export async function stopLightningd(context: ApplyContext): Promise<void> {
  const before = await readUnitState();
  if (!isUp(before)) {
    context.progress(
      `lightningd does not run (${LIGHTNINGD.unit} is ${before.load === "not-found" ? "not there" : before.active})`,
    );
    return;
  }
  context.progress("stopping lightningd: no new payments, then its database is closed");
  await must("systemctl", ["stop", "--no-block", LIGHTNINGD.unit]);
  const follow = await journalFollower(context);
  const deadline = Date.now() + STOP_DEADLINE_MS;
  while (Date.now() < deadline) {
    const unit = await readUnitState();
    if (!isUp(unit)) {
      context.progress("lightningd is stopped");
      return;
    }
    await follow();
    await delay(POLL_MS);
  }
  await fail("lightningd did not stop, although systemd should have killed it by now");
}

/**
 * Keeps the unit from starting at boot: a stack that was destroyed may go on elsewhere, and this host's own copies, which agree,
 * would let its gate start the same node once more. An apply enables it again.
 */
export async function disableLightningd(context: ApplyContext): Promise<void> {
  if ((await readUnitState()).enabled !== "enabled") return;
  await must("systemctl", ["disable", "--quiet", LIGHTNINGD.unit]);
  // A power cut must not bring the links back.
  await must("sync", ["--file-system", "--", dirname(LIGHTNINGD.unitFile)]);
  context.progress(`${LIGHTNINGD.unit} is not started at boot any more`);
}
