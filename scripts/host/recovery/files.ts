/**
 * Moving a wallet's files so that a kill at any point leaves either the old one, the new one, or none: never a database beside the
 * journal of another one. SQLite would play such a journal back into it.
 */
import { constants } from "node:fs";
import { chmod, copyFile, mkdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { JournalMode } from "../contract.ts";
import { syncDirectory, syncFile } from "../files.ts";
import { codeOf, JOURNAL_SUFFIXES, readCopy, settleCopy } from "../gate/copy.ts";
import { sha256Of } from "../gate/peek.ts";

const ifThere = async <T>(action: Promise<T>): Promise<T | undefined> => {
  try {
    return await action;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
};

/** The name of a file while it is made, and of the directory in which a replaced one is kept. */
export const partName = (path: string) => join(dirname(path), `.${basename(path)}.twofold-part`);
const asideName = (path: string, now: Date) =>
  join(dirname(path), `${basename(path)}.replaced-${now.toISOString().replace(/[:.]/g, "-")}`);

export interface Copied {
  version: number;
  nodeId: string | undefined;
  bytes: number;
  /** SHA-256 of the file that is now in place. */
  digest: string;
  /** Directory in which the replaced files are kept; undefined if there were none. */
  aside: string | undefined;
}

/**
 * Copies the closed wallet `from`, journals applied, to `to`, and keeps what was there aside. Both are stopped: the caller holds the
 * start lock. `from` stays byte-identical.
 * @throws if the copy does not hold what `expected` says
 */
export async function copyWallet(
  from: string,
  to: string,
  expected: { version: number; nodeId: string | undefined; journalMode: JournalMode },
): Promise<Copied> {
  await removePart(to);
  try {
    return await copyThroughPart(from, to, expected);
  } finally {
    // A copy that failed must not fill the volume, which may be why it failed.
    await removePart(to);
  }
}

async function removePart(to: string): Promise<void> {
  for (const suffix of ["", ...JOURNAL_SUFFIXES, "-shm"]) await rm(partName(to) + suffix, { force: true });
}

async function copyThroughPart(from: string, to: string, expected: Parameters<typeof copyWallet>[2]): Promise<Copied> {
  const part = partName(to);
  for (const suffix of ["", ...JOURNAL_SUFFIXES]) {
    const copied = copyFile(from + suffix, part + suffix, constants.COPYFILE_FICLONE);
    if (suffix === "") await copied;
    else await ifThere(copied);
  }
  await settleCopy(part, expected.journalMode);
  await chmod(part, 0o600);
  await syncFile(part, "r+");
  const copy = await readCopy(part, "full");
  if (copy.state !== "wallet" || copy.version !== expected.version || copy.nodeId !== expected.nodeId)
    throw new Error(
      `the copy of ${from} is not what was seen there: ${copy.state === "wallet" ? `data_version ${copy.version}` : copy.state}, expected ${expected.version}; nothing was replaced`,
    );
  const digest = await sha256Of(part);
  const { size } = await stat(part);
  const aside = await moveAside(to, new Date());
  await rename(part, to);
  await syncDirectory(dirname(to));
  return { version: copy.version, nodeId: copy.nodeId, bytes: size, digest, aside };
}

/**
 * Moves a wallet's files into a directory beside it. The database goes first: without it the gate refuses to start, while a database
 * without its journal would look whole. An interrupted move is finished by the next one, into a directory of its own.
 */
async function moveAside(path: string, now: Date): Promise<string | undefined> {
  const aside = asideName(path, now);
  let moved = false;
  for (const suffix of ["", ...JOURNAL_SUFFIXES]) {
    if ((await ifThere(stat(path + suffix))) === undefined) continue;
    await mkdir(aside, { recursive: true, mode: 0o700 });
    await rename(path + suffix, join(aside, basename(path) + suffix));
    await syncDirectory(dirname(path));
    moved = true;
  }
  // Shared memory of a wallet that is gone; it holds nothing.
  await rm(`${path}-shm`, { force: true });
  if (!moved) return undefined;
  await syncDirectory(aside);
  return aside;
}
