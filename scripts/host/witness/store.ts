/** The marks that lie on this host: one file a node, replaced in one step and never by a lower one. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:fs";
import { open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { WITNESS_DIRECTORY } from "../contract.ts";
import { syncDirectory } from "../files.ts";
import { type Mark, mayAdvance, parseMark } from "./mark.ts";

export type StoredMark = { state: "missing" } | { state: "damaged"; why: string } | { state: "mark"; mark: Mark };

export const nodeDirectory = (node: string, root = WITNESS_DIRECTORY) => join(root, node);
const markFile = (node: string, root?: string) => join(nodeDirectory(node, root), "mark.json");

/** A mark that can't be read is damaged, never missing: a missing one may be written, a damaged one asks for a decision. */
export async function readMark(node: string, root?: string): Promise<StoredMark> {
  let text: string;
  try {
    text = await readFile(markFile(node, root), "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return { state: "missing" };
    return { state: "damaged", why: error instanceof Error ? error.message : String(error) };
  }
  try {
    return { state: "mark", mark: parseMark(text) };
  } catch (error) {
    return {
      state: "damaged",
      why: `${markFile(node, root)}: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}

/**
 * Writes beside the file, fsync, rename, fsync of the directory.
 * @param owner whose file it becomes, where root writes for the account that owns the directory
 */
export async function writeDurably(path: string, text: string, owner?: { uid: number; gid: number }): Promise<void> {
  // The process number keeps a sample and a clean stop that meet from writing into one another's file.
  const temporary = `${path}.${process.pid}.new`;
  const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, 0o600);
  try {
    await file.writeFile(text);
    if (owner !== undefined) await file.chown(owner.uid, owner.gid);
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

/**
 * Works on a node's mark while nobody else does: a sample, a clean stop and a rebuild may meet, and each reads before it writes. Node has no
 * flock(2); the program holds the lock for as long as `cat`, which it becomes, has its input open, so it ends with this process too.
 */
async function withMarkLocked<T>(node: string, root: string | undefined, work: () => Promise<T>): Promise<T> {
  const directory = nodeDirectory(node, root);
  const holder = spawn("flock", ["--no-fork", directory, "cat"], { stdio: ["pipe", "pipe", "pipe"] });
  const ended = new Promise<never>((_, reject) => {
    let said = "";
    holder.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    holder.on("error", reject);
    holder.on("close", (code) => reject(new Error(`${directory} can't be locked: flock ended with ${code}: ${said}`)));
  });
  holder.stdin.on("error", () => {});
  try {
    // It answers once it is `cat`, and that is once it has the lock.
    holder.stdin.write("\n");
    await Promise.race([once(holder.stdout, "data"), ended]);
    return await Promise.race([work(), ended]);
  } finally {
    ended.catch(() => {});
    holder.stdin.end();
    holder.stdout.resume();
  }
}

/** A mark that was refused, with the reason. */
export class MarkRefused extends Error {}

/**
 * Moves the mark of `next.node` up. Returns whether anything was written.
 * @throws {MarkRefused} for a lower version, another node's mark, or a mark that can't be read
 */
export function advanceMark(next: Mark, root?: string): Promise<boolean> {
  return withMarkLocked(next.node, root, () => advanceLocked(next, root));
}

async function advanceLocked(next: Mark, root: string | undefined): Promise<boolean> {
  const stored = await readMark(next.node, root);
  if (stored.state === "damaged")
    throw new MarkRefused(`the mark that is there can't be read, so it is not written over: ${stored.why}`);
  const verdict = mayAdvance(stored.state === "mark" ? stored.mark : undefined, next);
  if (!verdict.accepted) throw new MarkRefused(`the mark stays: ${verdict.why}`);
  if (verdict.changed) await writeDurably(markFile(next.node, root), `${JSON.stringify(next)}\n`);
  return verdict.changed;
}

/**
 * Replaces the mark by one that may be lower. Only the audited verb `witness rebuild` may call this.
 * @param may throws if what is there now must stay
 * @returns what was there
 */
export async function replaceMark(mark: Mark, may: (before: StoredMark) => void, root?: string): Promise<StoredMark> {
  return withMarkLocked(mark.node, root, async () => {
    const before = await readMark(mark.node, root);
    may(before);
    const file = markFile(mark.node, root);
    await writeDurably(file, `${JSON.stringify(mark)}\n`, await stat(dirname(file)));
    return before;
  });
}
