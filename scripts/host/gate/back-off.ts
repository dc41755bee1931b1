/**
 * Where lightningd ends because a primary moves it is started again at once. What fails at once fails again, so after some short lives in a
 * row the gate pauses first, ever longer. systemd's RestartSteps= would count all restarts since the last start by hand, however far apart.
 */
import { readFile, writeFile } from "node:fs/promises";
import { uptime } from "node:os";
import { join } from "node:path";
import { LIGHTNINGD } from "../contract.ts";

/** Of a lightningd that has not even opened its wallet for good. */
export const SHORT_SECONDS = 10;
/** Short lives in a row without a pause: a cluster that is looking for its primary may end lightningd more than once. */
const AT_ONCE = 5;
const LONGEST_PAUSE_SECONDS = 60;

export const STARTS_FILE = join(LIGHTNINGD.runtimeDirectory, "starts.json");

export interface Starts {
  /** Seconds since the host's boot, at the last start. */
  at: number;
  /** Short lives in a row before it. */
  short: number;
}

/** What is to be waited for before the next start. Pure. */
export function nextStart(last: Starts | undefined, now: number): { short: number; pauseSeconds: number } {
  const short = last !== undefined && now >= last.at && now - last.at < SHORT_SECONDS ? last.short + 1 : 0;
  const pauseSeconds = short <= AT_ONCE ? 0 : Math.min(2 ** (short - AT_ONCE - 1), LONGEST_PAUSE_SECONDS);
  return { short, pauseSeconds };
}

/** Undefined before the first start since the host's boot. */
export async function readStarts(): Promise<Starts | undefined> {
  try {
    return JSON.parse(await readFile(STARTS_FILE, "utf8")) as Starts;
  } catch {
    return undefined; // missing, or cut off by an end of the host's power: then nothing is known of earlier starts
  }
}

export const bootSeconds = (): number => uptime();

/** Missing outside the unit, where nobody starts again and again. */
export async function noteStart(short: number): Promise<void> {
  await writeFile(STARTS_FILE, `${JSON.stringify({ at: bootSeconds(), short } satisfies Starts)}\n`).catch(() => {});
}
