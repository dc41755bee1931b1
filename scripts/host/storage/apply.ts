/** Carries out the storage stage's own actions. Each looks again at what it is about to touch. */
import { mkdir, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { STATE_DIRECTORY, type StorageDocument, type VolumeDocument } from "../contract.ts";
import { ensureOwnDirectory, setOwnership, syncDirectory, writeFileDurably } from "../files.ts";
import { canonicalJson } from "../json.ts";
import { ROOT_FILE } from "../planning.ts";
import { CommandFailed, must, run } from "../process.ts";
import { readText } from "../read.ts";
import type { ApplyContext } from "../stage.ts";
import { readDevice } from "./block.ts";
import { bytesOn, readBalanceStatus, readMounted, readUnmounted } from "./btrfs.ts";
import { makingFile, mayMakeImmutable } from "./facts.ts";
import { withEntry } from "./fstab.ts";
import { metadataProfile, type StorageAction } from "./plan.ts";
import { applyTakeOver } from "./take-over.ts";

const FSTAB = "/etc/fstab";
/** How often long work tells how far it is. */
const PROGRESS_MS = 5_000;

export async function applyStorage(
  action: StorageAction,
  document: StorageDocument,
  context: ApplyContext,
): Promise<void> {
  switch (action.kind) {
    case "storage/take-over":
    case "storage/finish-take-over":
      return applyTakeOver(action, context);
    case "storage/protect-mount-point":
      return protectMountPoint(action.path, context);
    case "storage/give-tree":
      return giveTree(action);
  }
  const volume = document.volumes.find(({ name }) => name === action.volume);
  if (volume === undefined) throw new Error(`the document has no volume ${action.volume}`);
  switch (action.kind) {
    case "storage/make-filesystem":
      return makeFilesystem(volume, action.overwriteOurs);
    case "storage/set-fstab-entry":
      return setFstabEntry(volume);
    case "storage/mount":
      return mount(volume);
    case "storage/remount":
      await must("mount", ["-o", `remount,rw,${volume.options}`, volume.mount]);
      return;
    case "storage/add-device":
      await must("btrfs", ["device", "add", "--enqueue", "--", action.device, volume.mount]);
      return;
    case "storage/remove-device":
      return removeDevice(volume.mount, action.device, context);
    case "storage/convert":
      return convert(volume.mount, action, context);
  }
}

async function makeFilesystem(volume: VolumeDocument, overwriteOurs: boolean): Promise<void> {
  const ours: string[] = [];
  for (const { name, found } of await Promise.all(volume.devices.map(readDevice))) {
    for (const { type, uuid } of found?.signatures ?? []) {
      if (!(overwriteOurs && type === "btrfs" && uuid === volume.uuid)) {
        throw new Error(`${name} got a signature (${type}) since it was looked at, and was left alone; run this again`);
      }
      ours.push(name);
    }
  }
  // mkfs.btrfs refuses a UUID that is on a disk already, also with --force.
  if (ours.length > 0) await must("wipefs", ["--all", "--quiet", "--types", "btrfs", "--", ...ours]);
  await ensureOwnDirectory(STATE_DIRECTORY);
  await writeFileDurably(makingFile(volume.uuid), canonicalJson({ devices: volume.devices }), ROOT_FILE);
  await must("mkfs.btrfs", [
    ...["--quiet", "--uuid", volume.uuid, "--label", volume.label],
    ...["--data", volume.profile, "--metadata", metadataProfile(volume), "--", ...volume.devices],
  ]);
  await forgetMaking(volume.uuid);
}

async function forgetMaking(uuid: string): Promise<void> {
  if ((await readText(makingFile(uuid))) === undefined) return;
  await rm(makingFile(uuid));
  await syncDirectory(STATE_DIRECTORY);
}

async function protectMountPoint(path: string, context: ApplyContext): Promise<void> {
  const immutable = mayMakeImmutable((await readText("/proc/self/status")) ?? "");
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  await mkdir(path, { mode: 0o000 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  // An immutable directory takes no other mode. Fails where there is no such attribute, which the last step tells.
  if (immutable) await run("chattr", ["-i", "--", path]);
  await setOwnership(path, { owner: "root", group: "root", mode: "0000" });
  await syncDirectory(dirname(path));
  const protectedNow = immutable && (await run("chattr", ["+i", "--", path])).status === 0;
  if (!protectedNow) context.progress("  this host offers no immutable directories; mode 0000 keeps all but root out");
}

/** chown(1) changes a directory after what is in it, so that an interrupted run is seen by its owner and done again. */
async function giveTree({
  path,
  from,
  ownership,
}: Extract<StorageAction, { kind: "storage/give-tree" }>): Promise<void> {
  const to = `${ownership.owner}:${ownership.group}`;
  await must("chown", ["--recursive", "--no-dereference", `--from=${from}`, to, "--", path]);
  await setOwnership(path, ownership);
}

async function setFstabEntry(volume: VolumeDocument): Promise<void> {
  await writeFileDurably(FSTAB, withEntry((await readText(FSTAB)) ?? "", volume), ROOT_FILE);
}

/** Through fstab, so that what is mounted is what a boot will mount. */
async function mount(volume: VolumeDocument): Promise<void> {
  const filesystem = await readUnmounted(volume.uuid);
  const paths = filesystem?.members.flatMap(({ found }) => (found === undefined ? [] : [found.path])) ?? [];
  // The kernel has to know all devices of the filesystem; udev has told it on most hosts, but a container has none.
  if (paths.length > 0) await must("btrfs", ["device", "scan", "--", ...paths]);
  await forgetMaking(volume.uuid);
  if ((await mountThroughFstab(volume)) === volume.uuid) return;
  await forgetGoneDevices(paths);
  await must("mount", ["--", volume.mount]);
  const mounted = await readMounted(volume.mount);
  if (mounted?.uuid !== volume.uuid) {
    throw new Error(`mounted ${mounted?.uuid ?? "something else"} at ${volume.mount}, expected ${volume.uuid}`);
  }
}

/** UUID of what got mounted; if it isn't the volume's, nothing stays mounted. */
async function mountThroughFstab(volume: VolumeDocument): Promise<string | undefined> {
  if ((await run("mount", ["--", volume.mount])).status !== 0) return undefined;
  const mounted = await readMounted(volume.mount);
  if (mounted?.uuid !== volume.uuid) await must("umount", ["--", volume.mount]);
  return mounted?.uuid;
}

/**
 * Makes the kernel forget devices that are gone. One that runs on remembers those of a filesystem that was destroyed, and
 * takes them for parts of a new one with the same UUID, as a volume that is rebuilt on other disks has: its mount fails
 * (EIO, EEXIST), or a filesystem on one device gets a UUID of the kernel's own for as long as it is mounted (temp-fsid).
 * It forgets all filesystems that aren't mounted; the host's others are told to it again.
 */
async function forgetGoneDevices(paths: readonly string[]): Promise<void> {
  await must("btrfs", ["device", "scan", "--forget"]);
  await run("btrfs", ["device", "scan"]);
  if (paths.length > 0) await must("btrfs", ["device", "scan", "--", ...paths]);
}

/** Runs a command to its end and tells every few seconds how far it is. */
async function withProgress(work: Promise<unknown>, tell: () => Promise<string>, context: ApplyContext): Promise<void> {
  const settled = work.then(
    () => true,
    () => true,
  );
  while (!(await Promise.race([settled, delay(PROGRESS_MS, false, { ref: false })]))) {
    const line = await tell();
    if (line !== "") context.progress(`  ${line.trim()}`);
  }
  await work;
}

async function removeDevice(mountPoint: string, device: string, context: ApplyContext): Promise<void> {
  const work = must("btrfs", ["device", "remove", "--enqueue", "--", device, mountPoint]);
  await withProgress(work, async () => `${await bytesOn(mountPoint, device)} bytes are left on ${device}`, context);
}

/**
 * `soft` passes over what has the profile already, so a conversion that was interrupted goes on where it stood.
 * A balance that was interrupted by a reboot goes on by itself or is paused; both would be in the way of this one.
 */
async function convert(
  mountPoint: string,
  { data, metadata, reduces }: Extract<StorageAction, { kind: "storage/convert" }>,
  context: ApplyContext,
): Promise<void> {
  if ((await readBalanceStatus(mountPoint)).state === "paused") {
    await must("btrfs", ["balance", "cancel", "--", mountPoint]);
  }
  const args = [
    ...["balance", "start", "--enqueue", `-dconvert=${data},soft`, `-mconvert=${metadata},soft`],
    ...(reduces ? ["-f"] : []),
    mountPoint,
  ];
  const work = run("btrfs", args).then((ran) => {
    if (ran.status !== 0) throw new CommandFailed("btrfs", args, ran);
  });
  const tell = async () => {
    const status = await readBalanceStatus(mountPoint);
    return status.state === "none" ? "" : status.line;
  };
  await withProgress(work, tell, context);
}
