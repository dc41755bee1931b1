/** The state of a host's alerts, written only when it changes, and the time of the last look, which is gone at reboot. */
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ALERTS, RUNTIME_DIRECTORY } from "../contract.ts";
import { ensureOwnDirectory, writeFileDurably } from "../files.ts";
import { canonicalJson } from "../json.ts";
import { ROOT_FILE } from "../planning.ts";
import { readText } from "../read.ts";
import { type History, NO_HISTORY } from "./history.ts";

/** Its modification time is that of the last look; it says until when the journal was searched. */
const LOOKED = join(RUNTIME_DIRECTORY, "alerts-looked");

/** A state that can't be read is begun anew, and `problem` says so: a broken file must not end the alerts. */
export async function readHistory(): Promise<{ history: History; problem?: string }> {
  try {
    const text = await readText(ALERTS.state);
    if (text === undefined) return { history: NO_HISTORY };
    const value = JSON.parse(text) as History;
    if (!Array.isArray(value.alerts) || !Array.isArray(value.outbox)) throw new Error("it has no lists");
    return { history: value };
  } catch (error) {
    return { history: NO_HISTORY, problem: `${ALERTS.state} can't be read, so it is begun anew: ${error}` };
  }
}

/** Writes nothing if nothing changed: a healthy host writes nothing for days. */
export async function writeHistory(history: History): Promise<void> {
  const text = canonicalJson(history);
  const present = (await readText(ALERTS.state)) ?? canonicalJson(NO_HISTORY);
  if (present === text) return;
  await writeFileDurably(ALERTS.state, text, ROOT_FILE);
}

export interface LastLook {
  at: Date;
  /** The journal was searched up to this moment; undefined if it was never searched wholly. */
  searched: Date | undefined;
}

/** Undefined if nobody has looked since the host was started. */
export async function lastLook(): Promise<LastLook | undefined> {
  const found = await stat(LOOKED).catch(() => undefined);
  if (found === undefined) return undefined;
  const searched = new Date((await readText(LOOKED)) ?? "");
  return { at: found.mtime, searched: Number.isNaN(searched.getTime()) ? undefined : searched };
}

export async function noteLook(searched: Date | undefined): Promise<void> {
  await ensureOwnDirectory(RUNTIME_DIRECTORY);
  await writeFile(LOOKED, searched?.toISOString() ?? "");
}
