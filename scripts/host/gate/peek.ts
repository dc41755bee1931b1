/** What the replica's host says of the replica that it keeps, without its file ever being opened. */
import { type Check, checkNeeded, type Fingerprint, JOURNAL_MODES, readCopy, walletFingerprint } from "./copy.ts";
import type { CopyState } from "./observed.ts";

/** Tries at a replica that is being written to, until database and journal are of one moment. */
const TRIES = 20;

export interface Peek {
  copy: CopyState;
  /** Of the file as it is now; the node's host records it at a clean stop. */
  fingerprint: Fingerprint | undefined;
}

/** What the node's host asks for. `closed`: the file as a clean stop left it, which needs no check if it is still that. */
export interface PeekRequest {
  closed?: Fingerprint;
  check?: Check;
}

function parseRequest(value: unknown): PeekRequest {
  if (typeof value !== "object" || value === null) return {};
  const { closed, check } = value as Record<string, unknown>;
  return {
    ...(closed === undefined ? {} : { closed: parseFingerprint(closed) }),
    ...(check === "none" || check === "full" ? { check } : {}),
  };
}

/** Runs on the replica's host. A replica under load is copied again until nothing was written meanwhile. */
export async function peekReplica(path: string, input: unknown): Promise<Peek> {
  const { closed, check } = parseRequest(input);
  for (let tries = 1; ; tries++) {
    const before = await walletFingerprint(path);
    const copy = await readCopy(path, check ?? checkNeeded(closed, before));
    if (JSON.stringify(before) === JSON.stringify(await walletFingerprint(path)))
      return { copy, fingerprint: before.database };
    if (tries === TRIES)
      return { copy: { state: "unreachable", path, why: "it is being written to" }, fingerprint: undefined };
  }
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
        copy: {
          state,
          path,
          version,
          nodeId: typeof nodeId === "string" ? nodeId : undefined,
          journalMode: mode,
          bytes,
        },
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
