/** Snapshots of the store: taken by a timer, read back by restoring them, the newest kept. */
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SNAPSHOT_DIRECTORY } from "../../../templates/etcd-snapshot.ts";
import { syncDirectory, syncFile } from "../files.ts";
import { must } from "../process.ts";
import { etcdctlWords } from "./members.ts";

/** One an hour is taken; with Patroni's few kilobytes in it each is tens of kilobytes, and 256 MiB at most. */
const KEPT = 12;
/** Two missed and the third late. */
export const SNAPSHOT_OLD_MS = 3 * 3_600_000;

export interface Snapshot {
  file: string;
  at: Date;
}

const nameOf = (cluster: string, at: Date) =>
  `${cluster}-${at.toISOString().replace(/[-:]/g, "").replace(/\..*/, "Z")}.db`;

/** The snapshots among a directory's names, oldest first. Pure. */
export function parseSnapshots(cluster: string, names: readonly string[]): Snapshot[] {
  return names
    .flatMap((file) => {
      const [, name, y, mo, d, h, mi, s] = /^(.+)-(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z\.db$/.exec(file) ?? [];
      return name === cluster ? [{ file, at: new Date(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`) }] : [];
    })
    .sort((a, b) => a.at.getTime() - b.at.getTime());
}

export async function snapshotsOf(cluster: string): Promise<Snapshot[]> {
  const names = await readdir(SNAPSHOT_DIRECTORY).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  return parseSnapshots(cluster, names);
}

/** Those that are not kept. Pure. */
export const superfluous = (snapshots: readonly Snapshot[], kept = KEPT): Snapshot[] =>
  snapshots.slice(0, Math.max(0, snapshots.length - kept));

/**
 * etcd ends a snapshot with the SHA-256 of what stands before it, and refuses to restore one where the two differ.
 * @throws with both sums
 */
export function checkSum(content: Buffer): void {
  const SIZE = 32;
  if (content.length % 512 !== SIZE) throw new Error(`it has ${content.length} bytes, and so no sum at its end`);
  const found = createHash("sha256").update(content.subarray(0, -SIZE)).digest("hex");
  const written = content.subarray(-SIZE).toString("hex");
  if (found !== written) throw new Error(`its SHA-256 is ${found}, and ${written} was written`);
}

export interface SnapshotReport {
  file: string;
  revision: number;
  totalKey: number;
  totalSize: number;
}

/** Takes one, reads it back, and only then gives it its name. @throws if it can't be taken or is not whole */
export async function takeSnapshot(cluster: string, now: Date): Promise<SnapshotReport> {
  const file = join(SNAPSHOT_DIRECTORY, nameOf(cluster, now));
  const scratch = await mkdtemp(join(tmpdir(), "twofold-etcd-"));
  const fresh = `${file}.new`;
  try {
    await must("etcdctl", [...etcdctlWords(), "--command-timeout=60s", "snapshot", "save", fresh]);
    checkSum(await readFile(fresh));
    const status = await must("etcdutl", ["snapshot", "status", fresh, "--write-out=json"]);
    // What counts is that it can be restored, so it is.
    await must("etcdutl", ["snapshot", "restore", fresh, "--data-dir", join(scratch, "restored")]);
    await syncFile(fresh);
    await rename(fresh, file);
    await syncDirectory(SNAPSHOT_DIRECTORY);
    const { revision, totalKey, totalSize } = JSON.parse(status) as SnapshotReport;
    return { file, revision, totalKey, totalSize };
  } finally {
    for (const path of [scratch, fresh, `${fresh}.part`]) await rm(path, { recursive: true, force: true });
    for (const old of superfluous(await snapshotsOf(cluster))) await rm(join(SNAPSHOT_DIRECTORY, old.file));
  }
}
