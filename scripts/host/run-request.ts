/**
 * A run: what changes a host is done by a transient systemd unit that holds the host lock, and this side only follows its log.
 * A connection that drops ends the follower, never the run; the next `apply` of the same documents follows the run that is
 * still there, any other one waits for the lock.
 *
 * Files of one run in /run/twofold, all gone at reboot: ID.json (the request), ID.log (its output), ID.result (its end).
 */
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { printJson } from "./command.ts";
import { EXIT, RUNTIME_DIRECTORY, type StageDocument } from "./contract.ts";
import { ensureOwnDirectory, writeFileDurably } from "./files.ts";
import { canonicalJson } from "./json.ts";
import { must, run } from "./process.ts";
import { readText } from "./read.ts";
import type { RecoveryTask } from "./recovery/tasks.ts";

/** What a run does: documents that are applied, or a repair of the node's copies. */
export type RunTask = { documents: StageDocument[] } | { recovery: RecoveryTask };

export interface RunRequest {
  id: string;
  /** Digest of what is to be done and by which program. */
  digest: string;
  /** What the run is, in a word or two: "storage", "repair". */
  title: string;
  task: RunTask;
}

/** Which run holds the lock. */
export interface Holder {
  id: string;
  digest: string;
  title: string;
  /** ISO 8601. */
  since: string;
}

/** How the run ended; written as its last act. */
interface RunResult {
  status: number;
  /** What the operator is told, if it failed. */
  error?: string;
  /** What a repair says of what it did. */
  report?: unknown;
}

const LOCK = join(RUNTIME_DIRECTORY, "lock");
const HOLDER = join(RUNTIME_DIRECTORY, "holder.json");
/** Finished runs whose logs are kept, for looking at afterwards. */
const KEPT_RUNS = 20;
const ROOT_ONLY = { owner: "root", group: "root", mode: "0600" };

const requestFile = (id: string) => join(RUNTIME_DIRECTORY, `${id}.json`);
const logFile = (id: string) => join(RUNTIME_DIRECTORY, `${id}.log`);
const resultFile = (id: string) => join(RUNTIME_DIRECTORY, `${id}.result`);
const unitOf = (id: string) => `twofold-${id}.service`;

async function readJson<T>(path: string): Promise<T | undefined> {
  const text = await readText(path);
  return text === undefined ? undefined : (JSON.parse(text) as T);
}

async function isRunning(id: string): Promise<boolean> {
  const state = await must("systemctl", ["show", "--property=ActiveState", "--value", "--", unitOf(id)]);
  return ["active", "activating", "deactivating"].includes(state.trim());
}

/** The run that holds the host lock, if one is still at it. */
export async function currentHolder(): Promise<Holder | undefined> {
  const holder = await readJson<Holder>(HOLDER);
  return holder !== undefined && (await isRunning(holder.id)) ? holder : undefined;
}

/** In the transient unit, under the lock: says who holds it and returns the request. */
export async function takeRequest(id: string): Promise<RunRequest> {
  const request = await readJson<RunRequest>(requestFile(id));
  if (request === undefined) throw new Error(`there is no request ${id} in ${RUNTIME_DIRECTORY}`);
  const holder: Holder = { id, digest: request.digest, title: request.title, since: new Date().toISOString() };
  await writeFileDurably(HOLDER, canonicalJson(holder), ROOT_ONLY);
  return request;
}

/** In the transient unit, as its last act. */
export async function finishRequest(id: string, result: RunResult): Promise<void> {
  await writeFileDurably(resultFile(id), canonicalJson(result), ROOT_ONLY);
}

async function forgetOldRuns(): Promise<void> {
  const finished = (await readdir(RUNTIME_DIRECTORY))
    .filter((name) => name.endsWith(".result"))
    .map((name) => name.slice(0, -".result".length))
    // An ID starts with the time.
    .sort();
  for (const id of finished.slice(0, -KEPT_RUNS)) {
    for (const path of [requestFile(id), logFile(id), resultFile(id)]) await rm(path, { force: true });
  }
}

/** Hands a task to a run, or finds the run that is at the very same work, and returns its ID. */
async function startRun(title: string, task: RunTask, say: (line: string) => void): Promise<string> {
  const program = process.argv[1] ?? "";
  const digest = createHash("sha256").update(canonicalJson({ program, title, task })).digest("hex");
  const holder = await currentHolder();
  if (holder?.digest === digest) {
    say(`following the run of ${title} that is already at it since ${holder.since}`);
    return holder.id;
  }
  await ensureOwnDirectory(RUNTIME_DIRECTORY);
  await forgetOldRuns();
  const id = `${new Date().toISOString().replace(/\D/g, "")}-${title}-${randomBytes(3).toString("hex")}`;
  const request: RunRequest = { id, digest, title, task };
  await writeFileDurably(requestFile(id), canonicalJson(request), ROOT_ONLY);
  await must("systemd-run", [
    ...["--quiet", "--collect", "--unit", unitOf(id), "--service-type=exec"],
    ...["--description", `twofold: ${title}`],
    ...["--property", `StandardOutput=append:${logFile(id)}`, "--property", `StandardError=append:${logFile(id)}`],
    // --no-fork: the lock is an open file of the program itself and of what it starts, so it ends with the last of them.
    ...["--", "flock", "--no-fork", LOCK, process.execPath, program, "work", id],
  ]);
  return id;
}

/** Prints what is new in a log, from `offset` on, and returns the new offset. */
async function printFrom(path: string, offset: number, output: NodeJS.WriteStream): Promise<number> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, "r");
  } catch {
    return offset;
  }
  try {
    const { size } = await file.stat();
    if (size <= offset) return offset;
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(size - offset), position: offset });
    output.write(buffer.subarray(0, bytesRead));
    return offset + bytesRead;
  } finally {
    await file.close();
  }
}

/** Says for whom the lock is waited for, and how far that one is. */
async function describeWait(id: string): Promise<string | undefined> {
  const holder = await currentHolder();
  if (holder === undefined || holder.id === id) return undefined;
  const last = ((await readText(logFile(holder.id))) ?? "").trimEnd().split("\n").at(-1);
  return `waiting for the host lock, held by '${holder.title}' since ${holder.since}${last ? ` (${last.trim()})` : ""}`;
}

/**
 * Follows a run to its end, its log on `output`, and returns how it ended.
 * The log and the result are looked at 20 times a second (two stat calls); systemd is asked once a second.
 */
async function followRun(id: string, output: NodeJS.WriteStream): Promise<RunResult> {
  let offset = 0;
  let askedAt = 0;
  let saidAt = 0;
  for (;;) {
    const result = await readJson<RunResult>(resultFile(id));
    offset = await printFrom(logFile(id), offset, output);
    if (result !== undefined) return result;
    if (Date.now() - askedAt > 1000) {
      askedAt = Date.now();
      if (!(await isRunning(id)) && (await readText(resultFile(id))) === undefined) {
        await printFrom(logFile(id), offset, output);
        const error =
          `the run ${id} ended without a result: it was killed, or the host shut down\n` +
          "  to do: run this again; it goes on from what it finds";
        return { status: EXIT.failed, error };
      }
      if (offset === 0 && Date.now() - saidAt > 10_000) {
        const waiting = await describeWait(id);
        if (waiting !== undefined) {
          saidAt = Date.now();
          output.write(`${waiting}\n`);
        }
      }
    }
    await delay(50);
  }
}

/** Carries out a task under the host lock, with the run's log on `output`; the end is told by the caller. */
async function runUnderLock(title: string, task: RunTask, output: NodeJS.WriteStream): Promise<RunResult> {
  // The follower may go at any time; the run doesn't notice.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => process.exit(EXIT.failed));
  const result = await followRun(await startRun(title, task, (line) => output.write(`${line}\n`)), output);
  if (result.error !== undefined) console.error(result.error);
  return result;
}

/** Applies documents under the host lock and returns the exit status of the run. */
export async function applyUnderLock(title: string, documents: StageDocument[]): Promise<number> {
  return (await runUnderLock(title, { documents }, process.stdout)).status;
}

/** Repairs under the host lock: progress goes to stderr, the report as one line of JSON to stdout. Returns the exit status of the run. */
export async function recoverUnderLock(recovery: RecoveryTask): Promise<number> {
  const { status, report } = await runUnderLock(recovery.verb, { recovery }, process.stderr);
  if (report !== undefined) printJson(report);
  return status;
}

/** Says for whom the host lock will be waited for, if anybody holds it. */
async function announceWait(say: (line: string) => void): Promise<void> {
  await ensureOwnDirectory(RUNTIME_DIRECTORY);
  if ((await run("flock", ["--nonblock", LOCK, "true"])).status === 0) return;
  const holder = await currentHolder();
  say(
    holder
      ? `waiting for the run of ${holder.title} that is at work since ${holder.since}`
      : "waiting for the host lock",
  );
}

/** Lets a run that is still at work finish. */
export async function awaitHostLock(say: (line: string) => void): Promise<void> {
  await announceWait(say);
  await must("flock", [LOCK, "true"]);
}

/** Runs a command of this very program in a process that holds the host lock, with this one's input and output, and returns its status. */
export async function underHostLock(words: readonly string[], say: (line: string) => void): Promise<number> {
  await announceWait(say);
  const args = ["--no-fork", LOCK, process.execPath, process.argv[1] ?? "", ...words];
  const child = spawn("flock", args, { stdio: "inherit" });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? EXIT.failed));
  });
}
