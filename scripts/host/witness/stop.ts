/** What a clean stop has recorded of the closed files, so that the next start need not check them wholly. */
import { join } from "node:path";
import type { Fingerprint } from "../gate/copy.ts";
import { readText } from "../read.ts";
import { nodeDirectory, writeDurably } from "./store.ts";

export interface StopRecord {
  main: Fingerprint;
  replica?: Fingerprint;
}

const stopFile = (node: string) => join(nodeDirectory(node), "clean-stop.json");

/** Undefined if there is none, or if it can't be read: the copies are then checked wholly, which is always right. */
export async function readStopRecord(node: string): Promise<StopRecord | undefined> {
  const text = await readText(stopFile(node)).catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as StopRecord;
  } catch {
    return undefined;
  }
}

export const writeStopRecord = (node: string, record: StopRecord) =>
  writeDurably(stopFile(node), `${JSON.stringify(record)}\n`);
