/** Block devices: what they are, what they hold, and whether two names are one disk. */
import { readdir, readlink, realpath, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { must, run } from "../process.ts";
import { readText } from "../read.ts";

/** A trace of content, as wipefs(8) finds it: a filesystem, a RAID member, a partition table. */
export interface Signature {
  type: string;
  uuid?: string;
  label?: string;
}

/** What twofold needs of a BTRFS superblock. */
export interface Superblock {
  uuid: string;
  devid: number;
  /** No kernel has ever mounted it for writing: a fresh mkfs.btrfs has not written the generation of its UUID tree, nor a log. */
  neverMounted: boolean;
}

export interface Device {
  /** As declared. */
  name: string;
  /** Undefined if there is no such block device. */
  found?: {
    /** The kernel's name, for messages: /dev/sda1. */
    node: string;
    /** Major and minor number: "8:1". */
    number: string;
    /** The physical disks below: two devices that share one are no two copies. */
    disks: string[];
    bytes: number;
    signatures: Signature[];
    superblock?: Superblock;
    /** Device-mapper, md and the like that sit on it. */
    holders: string[];
  };
}

/** `wipefs --no-act --json`: empty output if there is no signature at all. */
export function parseSignatures(json: string): Signature[] {
  if (json.trim() === "") return [];
  const { signatures } = JSON.parse(json) as { signatures: (Signature & Record<string, unknown>)[] };
  return signatures.map(({ type, uuid, label }) => ({ type, ...(uuid ? { uuid } : {}), ...(label ? { label } : {}) }));
}

/** `btrfs inspect-internal dump-super`. Undefined for a text without a superblock. */
export function parseSuperblock(text: string): Superblock | undefined {
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, key, value] = /^(\S+)\s+(\S.*?)\s*$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined) values.set(key, value);
  }
  const uuid = values.get("fsid");
  const devid = Number(values.get("dev_item.devid"));
  if (uuid === undefined || !Number.isInteger(devid)) return undefined;
  return {
    uuid,
    devid,
    neverMounted: values.get("uuid_tree_generation") === "0" && values.get("log_root") === "0",
  };
}

async function names(directory: string): Promise<string[]> {
  return readdir(directory).catch(() => []);
}

/** The disks on which a block device lies, through partitions, device-mapper and loop files. */
async function disksBelow(number: string): Promise<string[]> {
  const directory = await realpath(`/sys/dev/block/${number}`);
  if ((await readText(join(directory, "partition"))) !== undefined) {
    return disksBelow(((await readText(join(dirname(directory), "dev"))) ?? number).trim());
  }
  const below = await names(join(directory, "slaves"));
  if (below.length > 0) {
    const all = await Promise.all(
      below.map(async (name) => disksBelow(((await readText(join(directory, "slaves", name, "dev"))) ?? "").trim())),
    );
    return [...new Set(all.flat())];
  }
  const file = await readText(join(directory, "loop/backing_file"));
  return [file === undefined ? number : `file ${file.trim()}`];
}

/** Major and minor number of a block device, or undefined for anything else. */
export async function deviceNumber(path: string): Promise<string | undefined> {
  try {
    const stats = await stat(path);
    if (!stats.isBlockDevice()) return undefined;
    // Linux's encoding of dev_t (gnu_dev_major(3)); the numbers stay far below 2^32.
    const major = (stats.rdev >> 8) & 0xfff;
    const minor = (stats.rdev & 0xff) | ((stats.rdev >> 12) & 0xfff00);
    return `${major}:${minor}`;
  } catch {
    return undefined;
  }
}

export async function readSuperblock(path: string): Promise<Superblock | undefined> {
  const dumped = await run("btrfs", ["inspect-internal", "dump-super", "--", path]);
  return dumped.status === 0 ? parseSuperblock(dumped.stdout) : undefined;
}

/** One declared device. Reads a few sectors; changes nothing. */
export async function readDevice(name: string): Promise<Device> {
  const number = await deviceNumber(name);
  if (number === undefined) return { name };
  const sys = await realpath(`/sys/dev/block/${number}`);
  const [disks, sectors, holders, signatures] = await Promise.all([
    disksBelow(number),
    readText(join(sys, "size")),
    names(join(sys, "holders")),
    must("wipefs", ["--no-act", "--json", "--", name]).then(parseSignatures),
  ]);
  const superblock = signatures.some(({ type }) => type === "btrfs") ? await readSuperblock(name) : undefined;
  return {
    name,
    found: {
      node: `/dev/${basename(await readlink(`/sys/dev/block/${number}`))}`,
      number,
      disks,
      // /sys counts sectors of 512 bytes, whatever the disk's own are.
      bytes: Number(sectors ?? 0) * 512,
      signatures,
      holders,
      ...(superblock ? { superblock } : {}),
    },
  };
}
