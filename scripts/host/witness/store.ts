/** The marks that lie on this host: one file a node, replaced in one step and never by a lower one. */
import { constants } from "node:fs";
import { open, readFile, rename, rm } from "node:fs/promises";
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

/** Writes by the account that owns the node's directory: beside it, fsync, rename, fsync of the directory. */
export async function writeDurably(path: string, text: string): Promise<void> {
  // The process number keeps a sample and a clean stop that meet from writing into one another's file.
  const temporary = `${path}.${process.pid}.new`;
  const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, 0o600);
  try {
    await file.writeFile(text);
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

/** A mark that was refused, with the reason. */
export class MarkRefused extends Error {}

/**
 * Moves the mark of `next.node` up. Returns whether anything was written.
 * @throws {MarkRefused} for a lower version, another node's mark, or a mark that can't be read
 */
export async function advanceMark(next: Mark, root?: string): Promise<boolean> {
  const stored = await readMark(next.node, root);
  if (stored.state === "damaged")
    throw new MarkRefused(`the mark that is there can't be read, so it is not written over: ${stored.why}`);
  const verdict = mayAdvance(stored.state === "mark" ? stored.mark : undefined, next);
  if (!verdict.accepted) throw new MarkRefused(`the mark stays: ${verdict.why}`);
  if (verdict.changed) await writeDurably(markFile(next.node, root), `${JSON.stringify(next)}\n`);
  return verdict.changed;
}

/** Replaces the mark whatever was there. Only the audited verb `witness rebuild` may call this. */
export async function replaceMark(mark: Mark, root?: string): Promise<void> {
  await writeDurably(markFile(mark.node, root), `${JSON.stringify(mark)}\n`);
}
