/** hsm_secret: present, safe, and the one that belongs to the wallet. Its bytes stay in this process and in lightning-hsmtool. */
import { execFile } from "node:child_process";
import { lstat, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { LIGHTNINGD } from "../contract.ts";
import { codeOf } from "./copy.ts";
import type { SecretKind, SecretState } from "./observed.ts";

const run = promisify(execFile);

/** As Core Lightning tells the forms apart (common/hsm_secret.c, detect_hsm_secret_type, v26.06). */
export function secretKind(bytes: Uint8Array): SecretKind {
  if (bytes.length < 32) return "invalid";
  if (bytes.length === 32) return "plain";
  if (bytes.length === 73) return "encrypted";
  return bytes.subarray(0, 32).every((byte) => byte === 0) ? "mnemonic" : "mnemonic-with-passphrase";
}

/** @param userName gives the name of a numeric user id. */
export async function readSecret(path: string, userName: (uid: number) => string): Promise<SecretState> {
  try {
    return await readPresent(path, userName);
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT") return { state: "absent", path };
    if (code === undefined || !(error instanceof Error)) throw error;
    return { state: "unreachable", path, why: error.message };
  }
}

async function readPresent(path: string, userName: (uid: number) => string): Promise<SecretState> {
  const found = await lstat(path);
  const mode = (found.mode & 0o7777).toString(8).padStart(4, "0");
  const base = { state: "present", path, mode, owner: userName(found.uid) } as const;
  if (!found.isFile()) return { ...base, kind: "invalid", nodeId: undefined, why: "it is not a regular file" };
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    if (codeOf(error) !== "EACCES") throw error;
    return { ...base, kind: "invalid", nodeId: undefined, why: "the node's user can't read it" };
  }
  const kind = secretKind(bytes);
  switch (kind) {
    case "invalid":
      return { ...base, kind, nodeId: undefined, why: `it has ${bytes.length} bytes` };
    case "encrypted":
    case "mnemonic-with-passphrase":
      return { ...base, kind, nodeId: undefined, why: "it is protected by a passphrase" };
    default:
      return deriveNodeId(base, kind);
  }
}

type Present = Extract<SecretState, { state: "present" }>;

/** @param tool path of lightning-hsmtool @param timeoutMs after which it is ended */
export async function deriveNodeId(
  base: Omit<Present, "kind" | "nodeId">,
  kind: SecretKind,
  tool = join(LIGHTNINGD.programs, "lightning-hsmtool"),
  timeoutMs = 20_000,
): Promise<SecretState> {
  try {
    const { stdout } = await run(tool, ["getnodeid", base.path], { timeout: timeoutMs });
    const nodeId = /\b0[23][0-9a-f]{64}\b/.exec(stdout)?.[0];
    if (nodeId !== undefined) return { ...base, kind, nodeId };
    return { ...base, kind: "invalid", nodeId: undefined, why: "lightning-hsmtool printed no node id for it" };
  } catch (error) {
    // Its exit status is about the secret; a tool that did not start or was ended has said nothing of it.
    if (codeOf(error) !== undefined)
      return { state: "unreachable", path: base.path, why: `${tool} could not be run: ${(error as Error).message}` };
    if (error instanceof Error && "killed" in error && (error.killed === true || ("signal" in error && error.signal)))
      return { state: "unreachable", path: base.path, why: `${tool} was ended before it had answered` };
    // The tool's message names its reason; it never prints the secret for getnodeid.
    const words =
      error instanceof Error && "stderr" in error ? String(error.stderr).trim() || error.message : String(error);
    return { ...base, kind: "invalid", nodeId: undefined, why: `${tool}: ${words}` };
  }
}
