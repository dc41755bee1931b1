/** A lab's disks: sparse image files on one BTRFS of the lab's own, each behind a loop device. */
import { existsSync, mkdirSync, readFileSync, renameSync, statfsSync, truncateSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { SetupError } from "./errors.mjs";
import { writeJournal } from "./lab-places.mjs";
import { listLoops, mountsBelow } from "./mounts.mjs";
import { attempt, run } from "./run.mjs";

/** Below this much free space a lab fills the machine's disk before it is of use. */
const NEEDED_BYTES = 3 * 2 ** 30;
/** The store holds the disks and the snapshots that power cuts take of them; sparse, so what isn't written isn't taken. */
const SNAPSHOTS = 8;

/**
 * Makes or re-attaches (after a reboot of this machine) the lab's disks; the journal gets their loop devices.
 * @param {import("./lab-places.mjs").Places} places @param {import("./lab-places.mjs").Journal} journal
 * @param {(line: string) => void} say
 */
export async function ensureDisks(places, journal, say) {
  refuseFullDisk(places.directory);
  const disks = Object.values(journal.hosts).flatMap((host) => Object.values(host.disks));
  await ensureStore(
    places,
    disks.reduce((sum, { bytes }) => sum + bytes, 0),
  );
  const attached = new Map((await listLoops(places.disks)).map(({ device, file }) => [file, device]));
  for (const disk of disks) {
    if (!existsSync(disk.file)) createSparse(disk.file, disk.bytes);
    const device = attached.get(disk.file) ?? (await attach(disk.file, disk.device));
    if (device !== disk.device) {
      disk.device = device;
      writeJournal(places, journal);
    }
    say(`${disk.file} is ${device}`);
  }
}

/** @param {string} directory */
function refuseFullDisk(directory) {
  const { bavail, bsize } = statfsSync(directory);
  const free = bavail * bsize;
  if (free >= NEEDED_BYTES) return;
  throw new SetupError({
    what: "the disk is too full for a lab",
    received: `${(free / 2 ** 30).toFixed(1)} GiB free at ${directory}`,
    why: `its hosts and disks take up to ${NEEDED_BYTES / 2 ** 30} GiB`,
    fix: "free space, or set XDG_STATE_HOME to a directory on a larger disk",
  });
}

/** @param {import("./lab-places.mjs").Places} places @param {number} bytes Of all disks together. */
async function ensureStore(places, bytes) {
  mkdirSync(places.store, { recursive: true });
  if (!existsSync(places.storeImage)) {
    const draft = `${places.storeImage}.new`;
    createSparse(draft, SNAPSHOTS * bytes + 2 ** 30);
    await run("mkfs.btrfs", ["--quiet", "--force", "--metadata", "single", draft]);
    renameSync(draft, places.storeImage);
  }
  if (!mountsBelow(readFileSync("/proc/self/mountinfo", "utf8"), places.store).includes(places.store)) {
    // Disks that sync at the same moment wait for one another in a tree log: three of them 30 ms each, and 9 ms without one. Without barriers it
    // is 4 ms: what a disk was told to keep is in its image, where a cut of the host's power finds it, and this machine's own disk is not asked
    // to keep it too.
    await run("mount", ["-o", "loop,notreelog,nobarrier", places.storeImage, places.store], {
      why: "the disks' images lie on it, so that one snapshot has all disks at one instant",
      fix: "check that this machine's kernel has btrfs and a free loop device (losetup --find)",
    });
  }
  if (!existsSync(places.disks)) await run("btrfs", ["subvolume", "create", places.disks]);
}

/** @param {string} file @param {number} bytes */
function createSparse(file, bytes) {
  mkdirSync(dirname(file), { recursive: true });
  const draft = `${file}.sparse`;
  writeFileSync(draft, "");
  truncateSync(draft, bytes);
  renameSync(draft, file);
}

/**
 * @param {string} file @param {string | null} before The device that it had: the host's container was made with that one.
 * @returns {Promise<string>}
 */
async function attach(file, before) {
  if (before !== null && (await attempt("losetup", [before, file])).status === 0) return before;
  return (
    await run("losetup", ["--find", "--show", file], {
      why: "a lab host's disk is a loop device",
      fix: "check that the kernel has a free one (losetup --find); /dev/loop-control must be there",
    })
  ).trim();
}
