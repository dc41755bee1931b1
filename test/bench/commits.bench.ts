/**
 * Commits a second through lightningd's own RPC, one writer: each acknowledged invoice is one commit of the wallet.
 * Plain ext4 and BTRFS RAID-1, rollback journal and WAL, on image files that lie side by side on this machine's disk.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { detachLoopsBelow, unmountBelow } from "../../scripts/setup/mounts.mjs";
import { type Daemon, install } from "../helpers/lightningd-daemon.ts";
import { mountNew, run, startOn, write } from "./lightningd-on.ts";
import { inTurns, type Subject, table } from "./paired.ts";

const ROUNDS = 5;
const REAL = process.env.TWOFOLD_LIGHTNINGD_ARCHIVE;

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
        subjects.push({ name, measure: () => write(daemon.client) });
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
