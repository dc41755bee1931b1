/** A lightningd on a filesystem of its own, and what it commits in one turn: what the benchmarks of commits share. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { LightningdClient } from "../helpers/lightningd-client.ts";
import { Daemon, type install } from "../helpers/lightningd-daemon.ts";

/** One subject's turn in a round, seconds. */
const TURN = 3;
const IMAGE_BYTES = 2 ** 30;

export const run = (program: string, ...words: string[]) => execFileSync(program, words, { encoding: "utf8" }).trim();

/** A filesystem over `images` files in `store`, mounted below `directory`; its mount point. */
export function mountNew(
  directory: string,
  name: string,
  images: number,
  mkfs: (devices: string[]) => void,
  store = directory,
): string {
  const devices = Array.from({ length: images }, (_, index) => {
    const file = join(store, `${name}-${index}.img`);
    writeFileSync(file, "");
    truncateSync(file, IMAGE_BYTES);
    return run("losetup", "--find", "--show", file);
  });
  mkfs(devices);
  const point = join(directory, name);
  mkdirSync(point);
  run("mount", devices[0] ?? "", point);
  return point;
}

export async function startOn(
  point: string,
  mode: "delete" | "wal",
  installation: ReturnType<typeof install>,
): Promise<Daemon> {
  const directory = join(point, mode);
  mkdirSync(join(directory, "regtest"), { recursive: true });
  const wallet = join(directory, "regtest/lightningd.sqlite3");
  if (mode === "wal") {
    // An empty file in WAL mode, as the lightningd stage makes it for a new node.
    const database = new DatabaseSync(wallet);
    database.exec("PRAGMA journal_mode=WAL");
    database.close();
  }
  return Daemon.start(installation, { directory, wallet: `sqlite3://${wallet}` });
}

/** Commits a second over one turn. */
export async function write(client: LightningdClient): Promise<number> {
  const prefix = randomBytes(4).toString("hex");
  const started = performance.now();
  let acknowledged = 0;
  while (performance.now() - started < TURN * 1000) {
    await client.invoice(`${prefix}-${acknowledged}`);
    acknowledged++;
  }
  return acknowledged / ((performance.now() - started) / 1000);
}
