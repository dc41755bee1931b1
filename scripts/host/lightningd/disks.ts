/** On which disks a path lies, whatever partitions, mappings and RAID are in between. */
import { access, readdir, realpath } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { type Mount, readMounts } from "../read.ts";
import { readMounted } from "../storage/btrfs.ts";

/** The mount that a path lies on: the longest mount point above it, the last one mounted there. */
export function mountOf(mounts: readonly Mount[], path: string): Mount | undefined {
  const above = mounts.filter(({ target }) => target === "/" || path === target || path.startsWith(`${target}/`));
  return above.reduce<Mount | undefined>(
    (best, each) => (best && best.target.length > each.target.length ? best : each),
    undefined,
  );
}

/** Whole disks under a block device, by the kernel's names: "sda" for /dev/sda1, "sda" and "sdb" for a mapping over both. */
async function wholeDisks(device: string): Promise<string[]> {
  const name = basename(await realpath(device));
  const node = await realpath(`/sys/class/block/${name}`);
  const partition = await access(`${node}/partition`).then(
    () => true,
    () => false,
  );
  if (partition) return [basename(dirname(node))];
  const slaves = await readdir(`${node}/slaves`).catch(() => []);
  if (slaves.length === 0) return [name];
  return (await Promise.all(slaves.map((slave) => wholeDisks(`/dev/${slave}`)))).flat();
}

async function disksUnder(mount: Mount): Promise<string[]> {
  const devices =
    mount.type === "btrfs"
      ? ((await readMounted(mount.target))?.members.flatMap(({ found }) => (found ? [found.path] : [])) ?? [])
      : [mount.source].filter((source) => source.startsWith("/dev/"));
  return [...new Set((await Promise.all(devices.map(wholeDisks))).flat())];
}

/** What two paths have in common that can fail as one: names of disks, or the mount itself. Empty if they lie apart. */
export async function sharedDisks(one: string, other: string): Promise<string[]> {
  const mounts = await readMounts();
  const [first, second] = [mountOf(mounts, one), mountOf(mounts, other)];
  if (!first || !second) return [];
  if (first.target === second.target) return [`the filesystem at ${first.target}`];
  const disks = await disksUnder(second);
  return (await disksUnder(first)).filter((disk) => disks.includes(disk)).sort();
}
