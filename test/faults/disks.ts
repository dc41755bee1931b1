/**
 * Faults of one disk: pulled and returned, full, rotten.
 *
 * A loop device whose image has no bytes any more, and which was told so, answers every read, write and flush with an error, as a disk
 * that died does; its content of that moment is put back when it is returned. The image keeps its inode, which the loop device holds.
 */

import { existsSync, readFileSync } from "node:fs";
import { type FileHandle, open, rm, stat, truncate } from "node:fs/promises";
import { diskName } from "../../stacks/lab-schema.ts";
import { eventually } from "../helpers/lab.ts";
import { type Disk, local, type Machine } from "./machine.ts";

/** Seconds for the filesystem to meet the fault: BTRFS writes its superblocks every 30 s, and lightningd's commits come sooner. */
const MEET_SECONDS = 45;
const EFFECT_SECONDS = 10;

/** Errors that BTRFS has counted on a device, all kinds together (btrfs-device(8), "stats"). */
export async function deviceErrors(host: Machine, mount: string, disk: Disk): Promise<number> {
  const stats = await host.exec("btrfs", "device", "stats", mount);
  return [...stats.matchAll(/^\[(.+)\]\.\w+\s+(\d+)$/gm)]
    .filter(([, device]) => device === disk.device)
    .reduce((sum, [, , count]) => sum + Number(count), 0);
}

/** Takes a disk away from a running host. */
export async function pullDisk(disk: Disk): Promise<void> {
  await local("cp", "--reflink=always", disk.file, asideOf(disk));
  // A write between the two steps would make the image grow again.
  await eventually(
    `${disk.device} has no bytes`,
    EFFECT_SECONDS,
    async () => {
      await truncate(disk.file, 0);
      await local("losetup", "--set-capacity", disk.device);
      return (await local("blockdev", "--getsize64", disk.device)) === "0";
    },
    1,
  );
}

/** Waits until BTRFS has met the pulled disk, which needs something to be written. @returns the errors counted */
export function meetsErrors(host: Machine, mount: string, disk: Disk): Promise<number> {
  return eventually(`BTRFS counts errors of ${disk.device}`, MEET_SECONDS, async () => {
    const errors = await deviceErrors(host, mount, disk);
    return errors > 0 && errors;
  });
}

/** Puts the disk back as it was when it was pulled. */
export async function returnDisk(disk: Disk): Promise<void> {
  await local("cp", "--reflink=always", asideOf(disk), disk.file);
  await local("losetup", "--set-capacity", disk.device);
  await local("rm", asideOf(disk));
  if ((await local("blockdev", "--getsize64", disk.device)) === "0")
    throw new Error(`${disk.device} did not come back`);
}

/** A new disk of the same size in the place of one, pulled or not, that nobody has mounted any more: there is nothing on it. */
export async function newDisk(disk: Disk): Promise<void> {
  const { size } = await stat(existsSync(asideOf(disk)) ? asideOf(disk) : disk.file);
  await truncate(disk.file, 0);
  await truncate(disk.file, size);
  await rm(asideOf(disk), { force: true });
  await local("losetup", "--set-capacity", disk.device);
  await local("blockdev", "--flushbufs", disk.device);
  if ((await local("blockdev", "--getsize64", disk.device)) !== `${size}`)
    throw new Error(`${disk.device} is not the new disk of ${size} bytes`);
  const left = await local("wipefs", "--noheadings", disk.device);
  if (left !== "") throw new Error(`the new disk ${disk.device} is not empty: ${left}`);
}

/** Brings a returned disk up to date from its mirror, and sets its counters to zero. */
export async function scrubVolume(host: Machine, mount: string): Promise<void> {
  await host.exec("btrfs", "scrub", "start", "-B", mount);
  await host.exec("btrfs", "device", "stats", "--reset", mount);
}

const asideOf = (disk: Disk) => `${disk.file}.pulled`;

/** Leaves no room on the filesystem of `directory`. @returns what makes the room again */
export async function fillDisk(host: Machine, directory: string): Promise<() => Promise<void>> {
  const filler = await host.path(`${directory}/.filler`);
  const file = await open(filler, "w");
  try {
    for (const bytes of [2 ** 24, 2 ** 16, 2 ** 12]) {
      const zeros = Buffer.alloc(bytes);
      while (await fits(file, zeros));
    }
  } finally {
    await file.close();
  }
  return () => rm(filler);
}

/** Writes and syncs; false if there was no room. */
async function fits(file: FileHandle, bytes: Buffer): Promise<boolean> {
  try {
    const { bytesWritten } = await file.write(bytes);
    await file.datasync();
    return bytesWritten === bytes.length;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOSPC") return false;
    throw error;
  }
}

/** Bits of a file rot on one disk: the bytes of its first extent are turned over there, behind the filesystem's back. */
export async function corruptBlocks(host: Machine, mount: string, file: string, disk: Disk): Promise<void> {
  // The map is read from the disk, which has it since the last transaction only; and what is not written yet has no place.
  await host.exec("sync");
  const extents = await host.exec("filefrag", "-v", "-b4096", file);
  const block = /^\s*0:\s+\d+\.\.\s*\d+:\s+(\d+)\.\./m.exec(extents)?.[1];
  if (block === undefined) throw new Error(`${file} on ${host.name} has no extent: ${extents}`);
  // It ends with status 1 where the range crosses an extent's end, having printed what is wanted.
  const { stdout: map } = await host.lab.tryExec(
    host.name,
    ...["btrfs-map-logical", "--logical", `${Number(block) * 4096}`, disk.device],
  );
  const physical = new RegExp(`physical (\\d+) device ${disk.device}$`, "m").exec(map)?.[1];
  if (physical === undefined) throw new Error(`no copy of ${file} is on ${disk.device}: ${map}`);
  await rot(host, mount, file, disk, async (image) => {
    await turnOver(image, Number(physical), 4096);
  });
}

/** The same to a file that is too small for an extent of its own: it lies among the metadata, where its content is looked for. */
export async function corruptSmallFile(host: Machine, mount: string, file: string, disk: Disk): Promise<void> {
  await host.exec("sync");
  const content = readFileSync(await host.path(file));
  await rot(host, mount, file, disk, async (image) => {
    const places = await placesOf(image, content);
    if (places.length === 0) throw new Error(`the content of ${file} is not on ${disk.device}`);
    // What a block was before it was changed is found too, and harms nobody.
    for (const at of places) await turnOver(image, at, content.length);
  });
}

/** Turns over the bits of a part of a disk's image. */
async function turnOver(image: FileHandle, at: number, length: number): Promise<void> {
  const { buffer } = await image.read(Buffer.alloc(length), 0, length, at);
  await image.write(
    buffer.map((byte) => ~byte & 0xff),
    0,
    length,
    at,
  );
}

/** Offsets of `content` in a file. */
async function placesOf(file: FileHandle, content: Buffer): Promise<number[]> {
  const places: number[] = [];
  const chunk = Buffer.alloc(2 ** 24);
  for (let from = 0; ; from += chunk.length - content.length) {
    const { bytesRead } = await file.read(chunk, 0, chunk.length, from);
    const read = chunk.subarray(0, bytesRead);
    for (let at = read.indexOf(content); at !== -1; at = read.indexOf(content, at + 1)) places.push(from + at);
    if (bytesRead < chunk.length) return places;
  }
}

/**
 * Changes a disk's image, and sees that a scrub finds more errors there than before: rot that was left by another fault is not this one's.
 * A read takes one mirror, by the reader's process number; a scrub reads both.
 */
async function rot(
  host: Machine,
  mount: string,
  file: string,
  disk: Disk,
  change: (image: FileHandle) => Promise<void>,
): Promise<void> {
  const before = await scrubErrors(host, mount, disk);
  const image = await open(disk.file, "r+");
  try {
    await change(image);
    await image.sync();
  } finally {
    await image.close();
  }
  const after = await scrubErrors(host, mount, disk);
  // Pages that the kernel has of the file would hide the rot; "count=0" reads nothing and drops them (dd(1), nocache).
  await host.exec("dd", `if=${file}`, "iflag=nocache", "count=0", "status=none");
  if (after <= before)
    throw new Error(
      `the rot of ${file} on ${disk.device} took no effect: a scrub finds ${after} errors there, and ${before} before it`,
    );
}

/**
 * Errors that a scrub which repairs nothing finds on a device. Asked of the scrub itself, since not every kernel adds those of metadata to
 * the device's counters.
 */
export async function scrubErrors(host: Machine, mount: string, disk: Disk): Promise<number> {
  // It ends with status 3 where it found errors, having printed them.
  const { stdout } = await host.lab.tryExec(host.name, "btrfs", "scrub", "start", "-B", "-d", "-R", "-r", mount);
  // It prints the name by which the device was found when it was mounted.
  const names = [disk.device, diskName(host.name, disk.name)];
  const ofDevice = stdout.split(/^Scrub device /m).find((part) => names.some((name) => part.startsWith(`${name} `)));
  const counts = [...(ofDevice ?? "").matchAll(/(?:read|csum|verify|super)_errors:\s+(\d+)/g)];
  if (counts.length === 0) throw new Error(`no scrub of ${disk.device}: ${stdout}`);
  return counts.reduce((sum, [, count]) => sum + Number(count), 0);
}
