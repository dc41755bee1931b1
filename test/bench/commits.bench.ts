/**
 * Commits a second through lightningd's own RPC, one writer: each acknowledged invoice is one commit of the wallet.
 * Plain ext4 and BTRFS RAID-1, rollback journal and WAL, on image files that lie side by side on this machine's disk.
 */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import test from "ava";
import { detachLoopsBelow, unmountBelow } from "../../scripts/setup/mounts.mjs";
import { Daemon, install } from "../helpers/lightningd-daemon.ts";
import { inTurns, type Subject, table } from "./paired.ts";

const ROUNDS = 5;
/** Each daemon's turn in a round, seconds. */
const TURN = 3;
const IMAGE_BYTES = 2 ** 30;
const REAL = process.env.TWOFOLD_LIGHTNINGD_ARCHIVE;

const run = (program: string, ...words: string[]) => execFileSync(program, words, { encoding: "utf8" }).trim();

/** A filesystem over `images` files in `directory`, mounted below it; its mount point. */
function mountNew(directory: string, name: string, images: number, mkfs: (devices: string[]) => void): string {
  const devices = Array.from({ length: images }, (_, index) => {
    const file = join(directory, `${name}-${index}.img`);
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

async function startOn(
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
async function write({ client }: Daemon): Promise<number> {
  const prefix = randomBytes(4).toString("hex");
  const started = performance.now();
  let acknowledged = 0;
  while (performance.now() - started < TURN * 1000) {
    await client.invoice(`${prefix}-${acknowledged}`);
    acknowledged++;
  }
  return acknowledged / ((performance.now() - started) / 1000);
}

test("commits a second on ext4 and on RAID-1, in either journal mode", async (t) => {
  t.timeout(10 * 60_000);
  // A short name, since the sockets' paths lie below it.
  const directory = mkdtempSync(join(tmpdir(), "tfb-"));
  const daemons: Daemon[] = [];
  try {
    const installation = install(REAL ? "real" : "lab", directory, REAL);
    const points = {
      ext4: mountNew(directory, "ext4", 1, (devices) => run("mkfs.ext4", "-q", ...devices)),
      "RAID-1": mountNew(directory, "raid1", 2, (devices) =>
        run("mkfs.btrfs", "--quiet", "--data", "raid1", "--metadata", "raid1", ...devices),
      ),
    };
    const subjects: Subject[] = [];
    for (const [filesystem, point] of Object.entries(points)) {
      for (const mode of ["delete", "wal"] as const) {
        const daemon = await startOn(point, mode, installation);
        daemons.push(daemon);
        const name = `${filesystem}, ${mode === "wal" ? "WAL" : "rollback journal"}`;
        subjects.push({ name, measure: () => write(daemon) });
      }
    }
    t.log(
      REAL
        ? `the real lightningd, ${run(installation.lightningd, "--version")}`
        : "the lab daemon; TWOFOLD_LIGHTNINGD_ARCHIVE=ARCHIVE measures the real lightningd",
    );
    const measured = await inTurns(subjects, ROUNDS);
    t.log(`${table(measured, "commits/s", "ext4, rollback journal")}\nload ${loadavg()[0]?.toFixed(1)}`);
  } finally {
    await Promise.all(daemons.map((daemon) => daemon.stop()));
    await unmountBelow(directory);
    await detachLoopsBelow(directory);
    rmSync(directory, { recursive: true, force: true });
  }
  t.pass();
});
