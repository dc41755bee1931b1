/** What the replica's host says of the replica that it keeps, without its file ever being opened. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { dirname } from "node:path";
import { must } from "../process.ts";
import {
  CHECKS,
  type Check,
  checkNeeded,
  type Fingerprint,
  JOURNAL_MODES,
  readCopy,
  removeScratch,
  walletFingerprint,
} from "./copy.ts";
import type { CopyState } from "./observed.ts";

/** Tries at a replica that is being written to, until database and journal are of one moment. */
const TRIES = 20;

export interface Peek {
  copy: CopyState;
  /** Of the file as it is now; the node's host records it at a clean stop. */
  fingerprint: Fingerprint | undefined;
  /** SHA-256 in hexadecimal digits, if it was asked for and the file is closed. */
  digest?: string;
  /**
   * SFTP sessions of the replica's account, of which the node's own mount is one. Sessions and not open files: what a process of another session
   * has open is shown to root alone.
   */
  sessions?: number;
}

/** What the node's host asks for. `closed`: the file as a clean stop left it, which needs no check if it is still that. */
export interface PeekRequest {
  closed?: Fingerprint;
  check?: Check;
  /** Also the SHA-256 of the database, which has to be closed and without a journal; it and its names are made durable first. */
  digest?: true;
}

function parseRequest(value: unknown): PeekRequest {
  if (typeof value !== "object" || value === null) return {};
  const { closed, check, digest } = value as Record<string, unknown>;
  const level = CHECKS.find((one) => one === check);
  return {
    ...(closed === undefined ? {} : { closed: parseFingerprint(closed) }),
    ...(level === undefined ? {} : { check: level }),
    ...(digest === true ? { digest } : {}),
  };
}

/** Runs on the replica's host. A replica under load is copied again until nothing was written meanwhile. */
export async function peekReplica(path: string, input: unknown): Promise<Peek> {
  const { closed, check, digest } = parseRequest(input);
  // Whoever renamed it here over SFTP could sync the file, but no directory: a power cut would bring the former one back.
  if (digest) await must("sync", ["--file-system", dirname(path)]);
  // The connection's end ends a peek, whatever it was at.
  await removeScratch(path);
  for (let tries = 1; ; tries++) {
    const before = await walletFingerprint(path);
    const copy = await readCopy(path, check ?? checkNeeded(closed, before));
    const closedFile = before.database !== undefined && before.journals.every((journal) => journal === undefined);
    const sum = digest && closedFile ? { digest: await sha256Of(path) } : {};
    if (JSON.stringify(before) === JSON.stringify(await walletFingerprint(path)))
      return { copy, fingerprint: before.database, ...sum };
    if (tries === TRIES)
      return { copy: { state: "unreachable", path, why: "it is being written to" }, fingerprint: undefined };
  }
}

export async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}

/** Reads an answer that came over the network. @throws if it is not one */
export function parsePeek(value: unknown): Peek {
  const { copy, fingerprint, digest, sessions } = record(value, "the answer");
  const print = fingerprint === undefined ? undefined : parseFingerprint(fingerprint);
  return {
    copy: parseCopy(copy),
    fingerprint: print,
    ...(typeof digest === "string" ? { digest } : {}),
    ...(typeof sessions === "number" ? { sessions } : {}),
  };
}

function parseCopy(copy: unknown): CopyState {
  const { state, path, why, version, nodeId, journalMode, bytes } = record(copy, "copy");
  if (typeof path !== "string") throw new Error(`peek: path is ${JSON.stringify(path)}`);
  const mode = JOURNAL_MODES.find((one) => one === journalMode);
  switch (state) {
    case "absent":
      return { state, path };
    case "unreachable":
    case "unreadable":
    case "damaged":
    case "mixed":
      return { state, path, why: String(why) };
    case "blank":
      return { state, path, journalMode: mode };
    case "wallet":
      if (typeof version !== "number" || typeof bytes !== "number" || mode === undefined)
        throw new Error(`peek: not a wallet: ${JSON.stringify(copy)}`);
      return {
        state,
        path,
        version,
        nodeId: typeof nodeId === "string" ? nodeId : undefined,
        journalMode: mode,
        bytes,
      };
    default:
      throw new Error(`peek: state is ${JSON.stringify(state)}`);
  }
}

function parseFingerprint(value: unknown): Fingerprint {
  const { inode, bytes, modified } = record(value, "fingerprint");
  return { inode: String(inode), bytes: String(bytes), modified: String(modified) };
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw new Error(`peek: ${what} is ${JSON.stringify(value)}`);
  return value as Record<string, unknown>;
}
