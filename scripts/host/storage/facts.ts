/** What the storage stage has to know of a host. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { STATE_DIRECTORY, type StorageDocument, type VolumeDocument } from "../contract.ts";
import { run } from "../process.ts";
import { type Entry, type Mount, mountAt, readEntries, readMounts, readText } from "../read.ts";
import { type Device, deviceNumber, readDevice } from "./block.ts";
import { type Filesystem, readMounted, readUnmounted } from "./btrfs.ts";
import { readTakeOver, type TakeOverFacts } from "./take-over.ts";

export interface VolumeFacts {
  devices: Device[];
  /** What is mounted at the mount point. */
  mounted: Mount | undefined;
  /** Other places at which the volume's devices are mounted. */
  elsewhere: string[];
  /** The filesystem with the volume's UUID; if something is mounted at the mount point, the one that is. */
  filesystem: Filesystem | undefined;
  /** mkfs was begun here, and its end was not written down. */
  making: boolean;
  /** The empty directory below; unknown while something is mounted on it. */
  mountPoint: MountPoint | undefined;
  /** Directories of the document, as far as the volume is mounted. */
  directories: Map<string, Entry | undefined>;
  /** Those of them, or of what they hold at the first level, that have the attribute C (no copy-on-write). */
  withoutCopyOnWrite: string[];
  takeOver: TakeOverFacts | undefined;
}

export interface MountPoint {
  entry: Entry;
  empty: boolean;
  /** Undefined where the filesystem or the host's rights don't offer it. */
  immutable: boolean | undefined;
}

export interface StorageFacts {
  fstab: string;
  volumes: Map<string, VolumeFacts>;
}

/** Written before mkfs and removed after it: devices that hold half a filesystem are known as ours and empty. */
export const makingFile = (uuid: string) => join(STATE_DIRECTORY, `making-${uuid}.json`);

/** `lsattr -d`: the letters of each path's attributes. */
export function parseAttributes(text: string): Map<string, string> {
  const attributes = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, letters, path] = /^([A-Za-z-]+)\s+(.+)$/.exec(line) ?? [];
    if (letters !== undefined && path !== undefined) attributes.set(path, letters);
  }
  return attributes;
}

const CAP_LINUX_IMMUTABLE = 9n;

/** Whether this process may set the attribute i; a container usually may not. */
export function mayMakeImmutable(procStatus: string): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)/m.exec(procStatus)?.[1];
  return effective !== undefined && ((BigInt(`0x${effective}`) >> CAP_LINUX_IMMUTABLE) & 1n) === 1n;
}

/** A path without attributes (another filesystem, no lsattr) is left out. */
async function readAttributes(paths: readonly string[]): Promise<Map<string, string>> {
  if (paths.length === 0) return new Map();
  return parseAttributes((await run("lsattr", ["-d", "--", ...paths])).stdout);
}

async function readMountPoint(path: string): Promise<MountPoint | undefined> {
  const entry = (await readEntries([path])).get(path);
  if (entry === undefined) return undefined;
  const empty = entry.kind !== "directory" || (await readdir(path)).length === 0;
  const letters = (await readAttributes([path])).get(path);
  const possible = letters !== undefined && mayMakeImmutable((await readText("/proc/self/status")) ?? "");
  return { entry, empty, immutable: possible ? letters.includes("i") : undefined };
}

async function readVolume(volume: VolumeDocument, mounts: readonly Mount[]): Promise<VolumeFacts> {
  const mounted = mountAt(mounts, volume.mount);
  const [devices, filesystem, making, mountPoint, takeOver] = await Promise.all([
    Promise.all(volume.devices.map(readDevice)),
    mounted === undefined ? readUnmounted(volume.uuid) : readMounted(volume.mount),
    readText(makingFile(volume.uuid)),
    mounted === undefined ? readMountPoint(volume.mount) : undefined,
    volume.takeOver === undefined ? undefined : readTakeOver(volume.takeOver),
  ]);
  const numbers = new Set(filesystem?.members.map((member) => member.found?.number));
  const elsewhere: string[] = [];
  for (const mount of mounts) {
    if (mount.type !== "btrfs" || mount.target === volume.mount) continue;
    const number = await deviceNumber(mount.source);
    if (number !== undefined && numbers.has(number)) elsewhere.push(mount.target);
  }
  const paths = mounted === undefined ? [] : volume.directories.map(({ path }) => path);
  const [directories, attributes] = await Promise.all([readEntries(paths), readAttributes(paths)]);
  return {
    devices,
    mounted,
    elsewhere,
    filesystem,
    making: making !== undefined,
    mountPoint,
    directories,
    withoutCopyOnWrite: [...attributes].filter(([, letters]) => letters.includes("C")).map(([path]) => path),
    takeOver,
  };
}

export async function readStorageFacts(document: StorageDocument): Promise<StorageFacts> {
  const [fstab, mounts] = await Promise.all([readText("/etc/fstab"), readMounts()]);
  const volumes = await Promise.all(document.volumes.map((volume) => readVolume(volume, mounts)));
  return {
    fstab: fstab ?? "",
    volumes: new Map(document.volumes.map(({ name }, index) => [name, volumes[index] as VolumeFacts])),
  };
}
