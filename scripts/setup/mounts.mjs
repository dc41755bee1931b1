/** Mounts and loop devices of this machine, found by where their files lie rather than by what a record says. */
import { readFileSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { SetupError } from "./errors.mjs";
import { attempt, run } from "./run.mjs";
import { waitUntil } from "./wait.mjs";

/** Seconds within which a killed container's kernel-side rest lets go of a loop device. */
const RELEASE_SECONDS = 15;

/**
 * Mount points at or below a directory, the deepest first.
 * @param {string} mountinfo Text of /proc/self/mountinfo (proc_pid_mountinfo(5)). @param {string} directory
 * @returns {string[]}
 */
export function mountsBelow(mountinfo, directory) {
  return mountinfo
    .split("\n")
    .flatMap((line) => {
      const point = line
        .split(" ")[4]
        ?.replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
      return point !== undefined && (point === directory || point.startsWith(`${directory}/`)) ? [point] : [];
    })
    .reverse(); // the kernel lists them in the order of mounting, nested ones later
}

/** @param {string} directory @param {string[]} [except] Mount points to be left. */
export async function unmountBelow(directory, except = []) {
  const real = realPath(directory);
  if (real === undefined) return;
  const left = except.map(realPath);
  for (const point of mountsBelow(readFileSync("/proc/self/mountinfo", "utf8"), real)) {
    if (left.includes(point)) continue;
    await run("umount", [point], {
      why: "what is mounted can't be removed",
      fix: `see who uses it (fuser -vm ${point}), then run it again`,
    });
  }
}

/**
 * Loop devices over files at or below a directory, removed files included.
 * @param {string} listing Output of `losetup --list --noheadings --raw --output NAME,BACK-FILE`. @param {string} directory
 * @returns {{ device: string, file: string }[]}
 */
export function loopsBelow(listing, directory) {
  return listing.split("\n").flatMap((line) => {
    const [, device, file] = /^(\/dev\/loop\d+) (.+)$/.exec(line.replaceAll("\\x20", " ")) ?? [];
    return device && file?.startsWith(`${directory}/`) ? [{ device, file: file.replace(/ \(deleted\)$/, "") }] : [];
  });
}

/** @param {string} directory */
export async function listLoops(directory) {
  const real = realPath(directory);
  if (real === undefined) return [];
  return loopsBelow(await run("losetup", ["--list", "--noheadings", "--raw", "--output", "NAME,BACK-FILE"]), real);
}

/**
 * Detaches every loop device over a file below the directory and waits until the kernel has let go of them.
 * @param {string} directory
 * @throws {SetupError} naming the devices that are still in use.
 */
export async function detachLoopsBelow(directory) {
  let left = await listLoops(directory);
  for (const { device } of left) {
    await forgetBtrfs(device);
    await attempt("losetup", ["--detach", device]);
  }
  // One that is still mounted somewhere is detached by the kernel at its last unmount.
  await waitUntil(async () => {
    left = await listLoops(directory);
    return left.length === 0;
  }, RELEASE_SECONDS);
  if (left.length === 0) return;
  throw new SetupError({
    what: "loop devices are still in use",
    received: left.map(({ device, file }) => `${device} (${file})`).join(", "),
    why: "their files can't be given up before",
    fix: "see what uses them (grep loop /proc/*/mountinfo), then run it again",
  });
}

/**
 * Makes the kernel forget that it has seen a BTRFS on the device. Otherwise it takes the next filesystem of that UUID for
 * an older copy of this one and refuses to mount it (EEXIST): a lab of the same name has the same UUIDs.
 * @param {string} device
 */
async function forgetBtrfs(device) {
  // A killed container's mount takes a moment to go. Any other failure means that there is nothing to forget.
  await waitUntil(async () => {
    const { stdout, stderr } = await attempt("btrfs", ["device", "scan", "--forget", device]);
    return !/busy/i.test(stdout + stderr);
  }, RELEASE_SECONDS);
}

/**
 * The path as the kernel tells it; the directory itself may be gone already.
 * @param {string} directory
 */
function realPath(directory) {
  try {
    return join(realpathSync(dirname(directory)), basename(directory));
  } catch {
    return undefined;
  }
}
