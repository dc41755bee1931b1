/** A BTRFS filesystem as it is: its members and the profiles of its block groups. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { must, run } from "../process.ts";
import { readText } from "../read.ts";
import { Refusal } from "../stage.ts";
import { deviceNumber, readSuperblock } from "./block.ts";

export interface Member {
  devid: number;
  /** Undefined: the filesystem misses it. */
  found?: { path: string; number: string; neverMounted: boolean };
}

export interface Filesystem {
  uuid: string;
  members: Member[];
  /** Profiles in use, in small letters; more than one of a kind while a conversion is unfinished. */
  data: string[];
  metadata: string[];
}

/** `btrfs filesystem show --raw MOUNT`: the UUID, and each device's number and path, without one if it is missing. */
export function parseShow(text: string): { uuid: string; devices: { devid: number; path?: string }[] } | undefined {
  const uuid = /uuid: ([0-9a-f-]{36})/.exec(text)?.[1];
  if (uuid === undefined) return undefined;
  const devices: { devid: number; path?: string }[] = [];
  for (const [, devid, path] of text.matchAll(/^\s*devid\s+(\d+) size \d+ used \d+ path (.+?)\s*$/gm)) {
    const missing = path === undefined || /MISSING/i.test(path);
    devices.push({ devid: Number(devid), ...(missing ? {} : { path }) });
  }
  return { uuid, devices };
}

/** `btrfs inspect-internal dump-tree -t chunk`: all members, and the profiles of all block groups. */
export function parseChunkTree(text: string): { devids: number[]; data: string[]; metadata: string[] } {
  const devids = [...text.matchAll(/^\s*item \d+ key \(DEV_ITEMS DEV_ITEM (\d+)\)/gm)].map((match) => Number(match[1]));
  const profiles = { data: new Set<string>(), metadata: new Set<string>() };
  for (const [, flags = ""] of text.matchAll(/^\s*length \d+ owner .* type (\S+)/gm)) {
    const [kind = "", profile = "single"] = flags.toLowerCase().split("|");
    if (kind === "data") profiles.data.add(profile);
    // Small "mixed" filesystems have DATA|METADATA in one; twofold never makes one.
    else profiles.metadata.add(profile);
  }
  return { devids, data: [...profiles.data].sort(), metadata: [...profiles.metadata].sort() };
}

/** Profiles with block groups, from sysfs (mounted filesystems): no process, and no lock. */
async function readProfiles(uuid: string, kinds: readonly string[]): Promise<string[]> {
  const profiles = new Set<string>();
  for (const kind of kinds) {
    const directory = `/sys/fs/btrfs/${uuid}/allocation/${kind}`;
    for (const entry of await readdir(directory, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      const total = await readText(join(directory, entry.name, "total_bytes"));
      if (total !== undefined && Number(total) > 0) profiles.add(entry.name);
    }
  }
  return [...profiles].sort();
}

/** {@link run}'s status where there is no such program. */
const NO_PROGRAM = 127;

/** The filesystem that is mounted at a path, or undefined if that isn't BTRFS. @throws {Refusal} if its tools are missing. */
export async function readMounted(mount: string): Promise<Filesystem | undefined> {
  const ran = await run("btrfs", ["filesystem", "show", "--raw", "--", mount]);
  if (ran.status === NO_PROGRAM)
    throw new Refusal({
      code: "STORAGE-NO-BTRFS",
      what: "the program btrfs is missing on this host",
      received: ran.stderr.trim(),
      why: `nothing can be said of the volume at ${mount} without it`,
      fix: "./twofold repair installs its package (btrfs-progs) and then looks again",
    });
  const shown = parseShow(ran.stdout);
  if (shown === undefined) return undefined;
  const members = await Promise.all(
    shown.devices.map(async ({ devid, path }): Promise<Member> => {
      const number = path === undefined ? undefined : await deviceNumber(path);
      const gone = path === undefined || number === undefined || (await isMissing(shown.uuid, devid));
      return gone ? { devid } : { devid, found: { path, number, neverMounted: false } };
    }),
  );
  const [data, metadata] = await Promise.all([
    readProfiles(shown.uuid, ["data"]),
    readProfiles(shown.uuid, ["metadata", "system"]),
  ]);
  return { uuid: shown.uuid, members, data, metadata };
}

async function isMissing(uuid: string, devid: number): Promise<boolean> {
  return (await readText(`/sys/fs/btrfs/${uuid}/devinfo/${devid}/missing`))?.trim() === "1";
}

/** The filesystem of this UUID from the superblocks of devices that aren't mounted; undefined if no device has it. */
export async function readUnmounted(uuid: string): Promise<Filesystem | undefined> {
  // Status 2 says that there is none. No cache: it could name a device that is something else by now.
  const listed = await run("blkid", [
    ...["--cache-file", "/dev/null", "--match-token", `UUID=${uuid}`, "--output", "device"],
  ]);
  const found = new Map<number, NonNullable<Member["found"]>>();
  for (const path of listed.stdout.split("\n").filter((line) => line !== "")) {
    const [superblock, number] = await Promise.all([readSuperblock(path), deviceNumber(path)]);
    if (superblock?.uuid !== uuid || number === undefined) continue;
    found.set(superblock.devid, { path, number, neverMounted: superblock.neverMounted });
  }
  const [first] = found.values();
  if (first === undefined) return undefined;
  const dumped = await run("btrfs", ["inspect-internal", "dump-tree", "--tree", "chunk", "--", first.path]);
  const tree = parseChunkTree(dumped.stdout);
  const devids = [...new Set([...tree.devids, ...found.keys()])].sort((a, b) => a - b);
  return {
    uuid,
    members: devids.map((devid) => {
      const member = found.get(devid);
      return member === undefined ? { devid } : { devid, found: member };
    }),
    data: tree.data,
    metadata: tree.metadata,
  };
}

/** Whether a balance runs or is paused, and how far it is. */
export type BalanceStatus = { state: "none" } | { state: "running" | "paused"; line: string };

/** `btrfs balance status MOUNT`. */
export function parseBalanceStatus(text: string): BalanceStatus {
  const state = /^Balance on '.*' is (running|paused)/m.exec(text)?.[1] as "running" | "paused" | undefined;
  if (state === undefined) return { state: "none" };
  return { state, line: text.split("\n").find((line) => /chunks balanced/.test(line)) ?? "" };
}

export async function readBalanceStatus(mount: string): Promise<BalanceStatus> {
  return parseBalanceStatus((await run("btrfs", ["balance", "status", "--", mount])).stdout);
}

/** Bytes that a device of a mounted filesystem still holds. */
export async function bytesOn(mount: string, path: string): Promise<number> {
  const text = await must("btrfs", ["filesystem", "show", "--raw", "--", mount]);
  const line = text.split("\n").find((each) => each.endsWith(` path ${path}`));
  return Number(/ used (\d+) /.exec(line ?? "")?.[1] ?? 0);
}
