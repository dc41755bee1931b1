/** Who else runs on this wallet: a lightningd started by hand, a copy tool that has the database open. */
import { readdir, readFile, readlink, stat } from "node:fs/promises";
import { basename, join } from "node:path";

/** A line of /proc/locks (proc_locks(5)): which process holds a lock on which inode. */
export function parseLocks(text: string): { pid: number; inode: string }[] {
  return text
    .split("\n")
    .map((line) => /^\d+: (?!->)\S+\s+\S+\s+\S+\s+(-?\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /.exec(line))
    .filter((match) => match !== null)
    .map((match) => ({ pid: Number(match[1]), inode: match[2] ?? "" }));
}

/**
 * Processes that hold lightningd's pid file or have one of `files` open. The pid file's lock is seen whoever holds it; open files
 * are seen for processes of the same user only, which includes every lightningd that could write to them besides root's.
 *
 * @param files absolute paths of the wallet's files, the journals included
 */
export async function otherUsers(pidFile: string, files: string[]): Promise<{ pid: number; what: string }[]> {
  const found = new Map<number, string>();
  const lock = await stat(pidFile, { bigint: true }).catch(() => undefined);
  if (lock !== undefined)
    // BTRFS shows another device number in stat(2) than in /proc/locks, so the inode is compared, and then the process's name.
    for (const { pid, inode } of parseLocks(await readFile("/proc/locks", "utf8")))
      if (pid > 0 && inode === `${lock.ino}` && (await isLightningd(pid)))
        found.set(pid, `is a lightningd that holds ${pidFile}`);
  const wanted = new Set(files);
  for (const entry of wanted.size === 0 ? [] : await readdir("/proc")) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid || found.has(pid)) continue;
    const open = await openFile(pid, wanted);
    if (open !== undefined) found.set(pid, `has ${open} open`);
  }
  return [...found].map(([pid, what]) => ({ pid, what }));
}

async function isLightningd(pid: number): Promise<boolean> {
  const words = await readFile(join("/proc", `${pid}`, "cmdline"), "utf8").catch(() => "");
  return words.includes("lightningd");
}

/**
 * Which of the files a process has open. In another mount namespace, as a container's, the file has another path, but its own name. Only then
 * is stat(2) asked, which hangs on a network mount whose host is gone.
 */
async function openFile(pid: number, wanted: Set<string>): Promise<string | undefined> {
  const directory = join("/proc", `${pid}`, "fd");
  for (const fd of await readdir(directory).catch(() => [])) {
    const target = await readlink(join(directory, fd)).catch(() => undefined);
    if (target === undefined) continue;
    if (wanted.has(target)) return target;
    for (const path of wanted)
      if (basename(path) === basename(target) && (await areOneFile(join(directory, fd), path))) return path;
  }
  return undefined;
}

async function areOneFile(...paths: [string, string]): Promise<boolean> {
  const [one, other] = await Promise.all(paths.map((path) => stat(path, { bigint: true }).catch(() => undefined)));
  return one !== undefined && other !== undefined && one.dev === other.dev && one.ino === other.ino;
}
