/** What the replica's host says of the replica that it keeps, without its file ever being opened. */
import { JOURNAL_MODES } from "./copy.ts";
import type { Fingerprint } from "./copy.ts";
import type { CopyState } from "./observed.ts";

export interface Peek {
  copy: CopyState;
  /** Of the file as it is now; the node's host records it at a clean stop. */
  fingerprint: Fingerprint | undefined;
}

/** Reads an answer that came over the network. @throws if it is not one */
export function parsePeek(value: unknown): Peek {
  const { copy, fingerprint } = record(value, "the answer");
  const { state, path, why, version, nodeId, journalMode, bytes } = record(copy, "copy");
  if (typeof path !== "string") throw new Error(`peek: path is ${JSON.stringify(path)}`);
  const mode = JOURNAL_MODES.find((one) => one === journalMode);
  const print = fingerprint === undefined ? undefined : parseFingerprint(fingerprint);
  switch (state) {
    case "absent":
      return { copy: { state, path }, fingerprint: print };
    case "unreachable":
    case "damaged":
      return { copy: { state, path, why: String(why) }, fingerprint: print };
    case "blank":
      return { copy: { state, path, journalMode: mode }, fingerprint: print };
    case "wallet":
      if (typeof version !== "number" || typeof bytes !== "number" || mode === undefined)
        throw new Error(`peek: not a wallet: ${JSON.stringify(copy)}`);
      return {
        copy: { state, path, version, nodeId: typeof nodeId === "string" ? nodeId : undefined, journalMode: mode, bytes },
        fingerprint: print,
      };
    default:
      throw new Error(`peek: state is ${JSON.stringify(state)}`);
  }
}

export function parseFingerprint(value: unknown): Fingerprint {
  const { inode, bytes, modified } = record(value, "fingerprint");
  return { inode: String(inode), bytes: String(bytes), modified: String(modified) };
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw new Error(`peek: ${what} is ${JSON.stringify(value)}`);
  return value as Record<string, unknown>;
}
