/**
 * Cuts the power of one or several hosts, and gives it back.
 *
 * Killing a container keeps the kernel's page cache, so it proves nothing about fsync. What a disk holds at a power cut is what
 * was written to it so far, and nothing of the page cache above. Here that is the content of the image file behind the disk's
 * loop device. All images lie in one subvolume, so one snapshot has all disks of all hosts at one instant. Then the containers are
 * killed, the images are put back to the snapshot, and the same containers start again on the same devices.
 *
 * A file that was written and never synced is on every volume just before the cut; it has to be gone after it.
 *
 * What this leaves out: a disk here never lies about a flush, and loses no write that the kernel has sent to it; and a host's root
 * disk keeps its page cache.
 */
import { randomBytes } from "node:crypto";
import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { eventually } from "../helpers/lab.ts";
import { runProgram } from "../helpers/run-program.ts";
import { type Disk, local, type Machine, type Volume } from "./machine.ts";

/** Seconds in which the kernel takes down the mounts of a killed container. */
const RELEASE_SECONDS = 30;
const UNSYNCED = ".unsynced";

export interface PowerCut {
  hosts: Machine[];
  /** Monotonic nanoseconds between which the power went: what was acknowledged before `from` was acknowledged before the cut. */
  from: bigint;
  to: bigint;
}

/** Cuts the power of `hosts`, all of one lab, at one instant. They are off until {@link powerOn}. */
export async function cutPower(hosts: Machine[]): Promise<PowerCut> {
  const [first] = hosts;
  if (first === undefined) throw new Error("no host to cut the power of");
  const { facts } = first.lab;
  const store = join(facts.directory, "store");
  const snapshot = join(store, `cut-${randomBytes(4).toString("hex")}`);
  const pids = await Promise.all(hosts.map((host) => host.running()));
  const unsynced = randomBytes(65536);
  hosts.forEach((host, index) => {
    for (const { mount } of host.volumes) writeFileSync(`/proc/${pids[index]}/root${mount}/${UNSYNCED}`, unsynced);
  });
  const from = process.hrtime.bigint();
  try {
    // A host without power sends nothing more. Its link goes first, or the others would get what its own disks have not.
    if (hosts.length < Object.keys(facts.hosts).length)
      await Promise.all(
        pids.map((pid) => local("nsenter", "--target", `${pid}`, "--net", "ip", "link", "set", "eth0", "down")),
      );
    await local("btrfs", "--quiet", "subvolume", "snapshot", join(store, "disks"), snapshot);
    const to = process.hrtime.bigint();
    await Promise.all(hosts.map((host) => killHost(host)));
    for (const host of hosts) await putBack(host.disks, snapshot);
    for (const host of hosts)
      for (const volume of host.volumes)
        await withVolume(host, volume.mount, async (root) => {
          const file = join(root, UNSYNCED);
          if (existsSync(file) && readFileSync(file).equals(unsynced))
            throw new Error(
              `the power cut of ${host.name} took no effect: a file that was never synced is on its disk`,
            );
        });
    return { hosts, from, to };
  } finally {
    if (existsSync(snapshot)) await local("btrfs", "--quiet", "subvolume", "delete", snapshot);
  }
}

/** Turns hosts on that are off; returns when their first process runs. */
export async function powerOn(hosts: Machine[]): Promise<void> {
  await Promise.all(hosts.map((host) => local("docker", "start", host.container)));
}

/** SIGKILL to all processes of the host, which is off then. The page cache reaches the disks: this is no power cut. */
export async function killHost(host: Machine): Promise<void> {
  await local("docker", "kill", host.container);
  await eventually(`${host.name} is off`, RELEASE_SECONDS, async () => (await host.pid()) === 0);
  await eventually(`the disks of ${host.name} are unmounted`, RELEASE_SECONDS, async () => !host.disks.some(isMounted));
}

const isMounted = ({ device }: Disk) => globSync(`/sys/fs/btrfs/*/devices/${basename(device)}`).length > 0;

/**
 * Mounts a volume of a host that is off, as a rescue system would, and calls `read` with the place. Its log is replayed, as at any mount.
 */
export async function withVolume<T>(host: Machine, mount: string, read: (root: string) => Promise<T>): Promise<T> {
  if ((await host.pid()) !== 0) throw new Error(`${host.name} is on: its disks can't be mounted a second time`);
  const { disks } = volumeAt(host, mount);
  try {
    return await mounted(
      disks.map(({ device }) => device),
      "ro",
      read,
    );
  } finally {
    await forgetDisks(disks);
  }
}

/** Mounts a filesystem on this machine for as long as `read` takes. */
async function mounted<T>(devices: string[], options: string, read: (root: string) => Promise<T>): Promise<T> {
  const root = await mkdtemp(join(tmpdir(), "twofold-volume-"));
  try {
    await local("btrfs", "device", "scan", ...devices);
    await local("mount", "-o", options, devices[0] ?? "", root);
    try {
      return await read(root);
    } finally {
      await local("umount", root);
    }
  } finally {
    await rmdir(root);
  }
}

/**
 * What the disks that are left of a volume hold at this instant, as whoever has only them finds it: the host, on until now, is killed, since one
 * kernel mounts one filesystem once, and a snapshot of the other disks' images is mounted degraded and read-only.
 */
export async function withSurvivors<T>(
  host: Machine,
  mount: string,
  pulled: Disk,
  read: (root: string) => Promise<T>,
): Promise<T> {
  const store = join(host.lab.facts.directory, "store");
  const snapshot = join(store, `pull-${randomBytes(4).toString("hex")}`);
  const survivors = volumeAt(host, mount).disks.filter(({ name }) => name !== pulled.name);
  await local("btrfs", "--quiet", "subvolume", "snapshot", join(store, "disks"), snapshot);
  const loops: string[] = [];
  try {
    await killHost(host);
    await forgetDisks(volumeAt(host, mount).disks);
    for (const { file } of survivors)
      loops.push(await local("losetup", "--find", "--show", join(snapshot, basename(file))));
    return await mounted(loops, "ro,degraded", read);
  } finally {
    for (const device of loops) {
      await runProgram("btrfs", ["device", "scan", "--forget", device]);
      await local("losetup", "--detach", device);
    }
    await local("btrfs", "--quiet", "subvolume", "delete", snapshot);
  }
}

function volumeAt(host: Machine, mount: string): Volume {
  const found = host.volumes.find((volume) => volume.mount === mount);
  if (found === undefined) throw new Error(`${host.name} has no volume at ${mount}`);
  return found;
}

/**
 * Gives disks that nobody has mounted the content that they have in the snapshot. The image keeps its inode, and so its loop device: one that
 * was let go of could be taken by another lab. A block device that nobody has open has no page cache.
 */
async function putBack(disks: Disk[], snapshot: string): Promise<void> {
  for (const { file, device } of disks) {
    await local("cp", "--reflink=always", join(snapshot, basename(file)), file);
    await local("blockdev", "--flushbufs", device);
  }
  await forgetDisks(disks);
}

/** All disks of a host, its root disk too, as they were at one time: an image of a virtual machine. */
export interface HostImage {
  root: string;
  disks: string;
}

/** Takes an image of a host that is off. */
export async function takeImage(host: Machine): Promise<HostImage> {
  const { directory } = host.lab.facts;
  const name = `image-${randomBytes(4).toString("hex")}`;
  const image = { root: join(directory, name), disks: join(directory, "store", name) };
  await copyRoot(await rootOf(host), image.root);
  await mkdir(image.disks);
  for (const { file } of host.disks) await local("cp", "--reflink=always", file, image.disks);
  return image;
}

/** Puts a host that is off back to its image. */
export async function putImageBack(host: Machine, { root, disks }: HostImage): Promise<void> {
  const present = await rootOf(host);
  await rm(present, { recursive: true });
  await copyRoot(root, present);
  await putBack(host.disks, disks);
}

/** With the marks by which the kernel's overlay knows what was deleted. */
const copyRoot = (from: string, to: string) =>
  local("cp", "--recursive", "--no-dereference", "--preserve=all", from, to);

/** Where the engine keeps what a host has written to its root disk. */
async function rootOf(host: Machine): Promise<string> {
  if ((await host.pid()) !== 0) throw new Error(`${host.name} is on: its root disk is in use`);
  return local("docker", "inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", host.container);
}

/** The kernel remembers devices by the filesystem's UUID, and would mix an image of before with one of after; a reboot forgets them. */
export async function forgetDisks(disks: Disk[]): Promise<void> {
  for (const { device } of disks) await runProgram("btrfs", ["device", "scan", "--forget", device]);
}
