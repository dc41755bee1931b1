/**
 * Changes to files that are either not there at all or there for good, also after a power cut:
 * write beside it, fsync, rename over it, fsync the directory.
 */
import { constants } from "node:fs";
import { lstat, mkdir, open, rename, rm, symlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Ownership } from "./contract.ts";
import { accountIds } from "./read.ts";

/**
 * The name is fixed so that what an interrupted write left is overwritten by the next one (there is one writer: the host
 * lock), and has dots at which cron and systemd pass it over.
 */
const besides = (path: string) => join(dirname(path), `.${basename(path)}.twofold-new`);

/** Makes the entries of a directory durable. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Makes what was written to a file durable. @param flags with which it is opened (open(2)): a network filesystem may sync a writer only */
export async function syncFile(path: string, flags: "r" | "r+" = "r"): Promise<void> {
  const file = await open(path, flags);
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Replaces a file in one step, with its ownership; if that fails, the old one is there and nothing beside it. */
export async function writeFileDurably(path: string, content: string, ownership: Ownership): Promise<void> {
  const { uid, gid } = await accountIds(ownership);
  const temporary = besides(path);
  await rm(temporary, { recursive: true, force: true });
  try {
    const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      await file.writeFile(content);
      await file.chown(uid, gid);
      await file.chmod(Number.parseInt(ownership.mode, 8));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw (error as NodeJS.ErrnoException).code === "ENOSPC" ? noSpace(path) : error;
  }
  await syncDirectory(dirname(path));
}

/** The system's own error names no file. */
function noSpace(path: string): Error {
  return new Error(
    "no space left on device\n" +
      `  received: ENOSPC, writing ${path}\n` +
      "  why: the file is as it was before; what comes after it was not done\n" +
      `  to do: free space there (df ${dirname(path)}), and run this again; it goes on from there`,
  );
}

/** Owner, group and mode of an existing file or directory; a symlink in its place is an error, never followed. */
export async function setOwnership(path: string, ownership: Ownership): Promise<void> {
  const { uid, gid } = await accountIds(ownership);
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    await file.chown(uid, gid);
    await file.chmod(Number.parseInt(ownership.mode, 8));
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes one directory, not its parents; one that is there is taken. */
export async function makeDirectory(path: string, ownership: Ownership): Promise<void> {
  await mkdir(path, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  await setOwnership(path, ownership);
  await syncDirectory(dirname(path));
}

/** Points a symlink at `target` in one step. Replaces a symlink or a file, never a directory. */
export async function makeSymlink(path: string, target: string): Promise<void> {
  const temporary = besides(path);
  await rm(temporary, { recursive: true, force: true });
  await symlink(target, temporary);
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}

/** Removes one file or symlink; one that isn't there is fine. */
export async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true });
  await syncDirectory(dirname(path));
}

/** Renames what is no longer used to a name of its own beside it, and returns that name. */
export async function putAside(path: string): Promise<string> {
  const aside = `${path}.removed-${new Date().toISOString().replace(/[:.]/g, "-")}`;
  await rename(path, aside);
  await syncDirectory(dirname(path));
  return aside;
}

/** twofold's own directories for state, which hold nothing that others may read. */
export async function ensureOwnDirectory(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o755 });
  const found = await lstat(path);
  if (found.uid !== 0 || (found.mode & 0o022) !== 0) {
    throw new Error(
      `${path} can be written by others than root; twofold keeps its state there. chown root ${path}, chmod 0755 ${path}`,
    );
  }
}
