/**
 * Moves an existing lightning directory onto the volume, as Core Lightning's backup document describes it: lightningd gone, copied,
 * owner set, `diff -r` clean, a symlink in the old place. The old directory is kept aside.
 *
 * FROM stays whole and in its place until the copy is complete, compared and durable under TO. Interrupted anywhere, the next run
 * finds one of these and goes on:
 * - FROM a directory, no TO: the copy was not complete; it is made anew.
 * - FROM a directory, TO the same: only FROM has to give way.
 * - FROM gone, kept aside: only the symlink is missing.
 */
import { lstat, readdir, readFile, readlink, realpath, rename, rm, rmdir, statfs } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { VolumeDocument } from "../contract.ts";
import { makeSymlink, syncDirectory } from "../files.ts";
import { CommandFailed, must, run } from "../process.ts";
import { type Entry, readEntries } from "../read.ts";
import { type ApplyContext, type OwnAction, Refusal } from "../stage.ts";

export type TakeOver = NonNullable<VolumeDocument["takeOver"]>;

export interface TakeOverFacts {
  from: Entry | undefined;
  aside: Entry | undefined;
  to: "absent" | "empty" | "same" | "other";
  /** Processes that have files below FROM open, or work in it: "lightningd (4711)". */
  users: string[];
  fromIsMountPoint: boolean;
}

export type TakeOverAction = OwnAction & { kind: "storage/take-over" | "storage/finish-take-over"; takeOver: TakeOver };

/** Where the old directory is kept. */
export const asideOf = (from: string): string => `${from}.before-twofold`;
const partialOf = (to: string): string => `${to}.partial`;

/** Processes that use something below a directory; as root, all of them. */
export async function usersOf(directory: string): Promise<string[]> {
  const real = await realpath(directory).catch(() => directory);
  const inside = (path: string) => path === real || path.startsWith(`${real}/`);
  const link = (path: string) => readlink(path).catch(() => "");
  const users: string[] = [];
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    const open = await readdir(`/proc/${pid}/fd`).catch(() => []);
    const links = await Promise.all([link(`/proc/${pid}/cwd`), ...open.map((fd) => link(`/proc/${pid}/fd/${fd}`))]);
    if (!links.some(inside)) continue;
    const name = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "");
    users.push(`${name.trim() || "a process"} (${pid})`);
  }
  return users;
}

/** Sockets, which a copy can't keep and `diff` can't compare: lightning-rpc of a lightningd that is gone. */
async function socketsBelow(directory: string): Promise<string[]> {
  const sockets: string[] = [];
  for (const name of await readdir(directory, { recursive: true })) {
    const path = join(directory, name);
    if ((await lstat(path)).isSocket()) sockets.push(path);
  }
  return sockets;
}

/** `diff -r`: undefined if both are the same, else its first lines. */
async function difference(a: string, b: string): Promise<string | undefined> {
  const excluded = (await socketsBelow(a)).map((path) => `--exclude=${basename(path)}`);
  const args = ["--recursive", "--brief", "--no-dereference", ...excluded, "--", a, b];
  const compared = await run("diff", args);
  if (compared.status === 0) return undefined;
  if (compared.status === 1) return compared.stdout.trim().split("\n").slice(0, 5).join("\n    ");
  throw new CommandFailed("diff", args, compared);
}

export async function readTakeOver({ from, to }: TakeOver): Promise<TakeOverFacts> {
  const aside = asideOf(from);
  const entries = await readEntries([from, to, aside]);
  const found = entries.get(from);
  const there = entries.get(to);
  const isDirectory = found?.kind === "directory";
  const state = async (): Promise<TakeOverFacts["to"]> => {
    if (there === undefined) return "absent";
    if (there.kind === "directory" && (await readdir(to)).length === 0) return "empty";
    // Only an interrupted run leaves two directories, so only then are they compared.
    return isDirectory && (await difference(from, to)) === undefined ? "same" : "other";
  };
  const device = async (path: string) => (await lstat(path)).dev;
  return {
    from: found,
    aside: entries.get(aside),
    to: await state(),
    users: isDirectory ? await usersOf(from) : [],
    fromIsMountPoint: isDirectory && (await device(from)) !== (await device(dirname(from))),
  };
}

const refuse = (code: string, what: string, received: string, why: string, fix: string): never => {
  throw new Refusal({ code, what, received, why, fix });
};

/**
 * Pure. `volume` says whether TO could be looked at: a volume that is yet to be made holds nothing, one that is yet to be
 * mounted is looked at after that.
 */
export function planTakeOver(
  takeOver: TakeOver,
  facts: TakeOverFacts,
  volume: "mounted" | "new" | "unmounted",
): TakeOverAction[] {
  const { from, to } = takeOver;
  const item = `symlink:${from}` as const;
  if (facts.from?.kind === "symlink") {
    if (facts.from.target === to) return [];
    refuse(
      "STORAGE-TAKE-OVER-SYMLINK",
      `${from} is to be taken over, and is a symlink to somewhere else`,
      `${from} -> ${facts.from.target}, expected ${to}`,
      "which of the two directories holds the node's newest state can't be seen from here",
      `name the real directory as takeOver, or point ${from} to ${to} if that is the one`,
    );
  }
  if (facts.from !== undefined && facts.from.kind !== "directory") {
    refuse(
      "STORAGE-TAKE-OVER-KIND",
      `${from} is to be taken over, and is no directory`,
      `a ${facts.from.kind}`,
      "a lightning directory holds the wallet; this can't be one",
      "correct takeOver in the stack's config",
    );
  }
  if (facts.users.length > 0) {
    refuse(
      "STORAGE-TAKE-OVER-IN-USE",
      `${from} is in use`,
      facts.users.join(", "),
      "what lightningd commits during the copy would be missing in it, and an old state loses channels",
      "stop lightningd ('lightning-cli stop'; disable its old unit), wait until it is gone, and run this again",
    );
  }
  if (facts.fromIsMountPoint) {
    refuse(
      "STORAGE-TAKE-OVER-MOUNT",
      `${from} is a mount point`,
      "a filesystem of its own",
      "it can't be moved aside while it is mounted",
      "mount it somewhere else, or name a directory inside it as takeOver",
    );
  }
  const exists = volume === "new" ? "absent" : facts.to;
  if (facts.from === undefined) {
    if (volume === "unmounted") return [];
    const summary = `leave a symlink to ${to} at ${from}`;
    if (exists === "same" || exists === "other") return [{ kind: "storage/finish-take-over", item, summary, takeOver }];
    refuse(
      "STORAGE-TAKE-OVER-MISSING",
      `${from} is to be taken over, and there is nothing`,
      facts.aside === undefined
        ? `neither ${from} nor ${to} exists`
        : `the old directory lies at ${asideOf(from)}, but ${to} is gone`,
      facts.aside === undefined
        ? "a node that starts without its directory is a new node with a new identity"
        : "the old directory is from before the move: to start from it is to start from an old state, which loses channels",
      facts.aside === undefined ? "correct takeOver, or remove it for a new node" : "restore the newest copy instead",
    );
  }
  if (facts.aside !== undefined) {
    refuse(
      "STORAGE-TAKE-OVER-ASIDE",
      `${from} is to be taken over, and an earlier one is still kept aside`,
      `both ${from} and ${asideOf(from)} exist`,
      "the old directory is kept as it was, so a second one has no place",
      `see which one you need, and move ${asideOf(from)} away`,
    );
  }
  if (volume === "unmounted") return [];
  if (exists === "other") {
    refuse(
      "STORAGE-TAKE-OVER-CONFLICT",
      `${from} is to be taken over, and ${to} has content already`,
      `both hold something, and 'diff -r' says that it is not the same`,
      "which of the two holds the node's newest state can't be seen from here, and the older one loses channels",
      "find out which one lightningd used last; move the other away",
    );
  }
  if (exists === "same") {
    const summary = `keep ${from} aside as ${asideOf(from)} and leave a symlink to ${to}`;
    return [{ kind: "storage/finish-take-over", item, summary, takeOver }];
  }
  const summary = `copy ${from} to ${to}, compare, keep the old one as ${asideOf(from)} and leave a symlink`;
  return [{ kind: "storage/take-over", item, summary, takeOver }];
}

async function refuseUsers(from: string): Promise<void> {
  const users = await usersOf(from);
  if (users.length === 0) return;
  throw new Error(
    `${from} came into use while it was being copied: ${users.join(", ")}\n` +
      "  why: its commits are not in the copy, so the copy was left aside and the directory stays where it is\n" +
      "  to do: stop lightningd, wait until it is gone, and run this again",
  );
}

async function refuseLackOfSpace(from: string, to: string): Promise<void> {
  const needed = Number((await must("du", ["--summarize", "--bytes", "--", from])).split("\t")[0]);
  const { bavail, bsize } = await statfs(dirname(to));
  const free = bavail * bsize;
  if (free > needed) return;
  throw new Error(
    `${from} doesn't fit onto the volume: it has ${needed} bytes, ${free} are free at ${dirname(to)}\n` +
      "  why: nothing is moved before it is copied wholly\n  to do: use larger devices, or make room",
  );
}

async function copy({ from, to, owner, group }: TakeOver, context: ApplyContext): Promise<void> {
  const partial = partialOf(to);
  await refuseUsers(from);
  await rm(partial, { recursive: true, force: true });
  await refuseLackOfSpace(from, to);
  context.progress(`  copying ${from}`);
  await must("cp", ["--archive", "--reflink=auto", "--no-target-directory", "--", from, partial]);
  for (const socket of await socketsBelow(partial)) await rm(socket);
  await must("chown", ["--recursive", "--no-dereference", `${owner}:${group}`, "--", partial]);
  await must("sync", ["--file-system", "--", partial]);
  context.progress("  comparing (diff -r)");
  const differs = await difference(from, partial);
  await refuseUsers(from);
  if (differs !== undefined) {
    throw new Error(
      `the copy of ${from} is not the same:\n    ${differs}\n` +
        "  why: something changes the directory, or a disk is bad\n  to do: stop what uses it, and run this again",
    );
  }
  if ((await readEntries([to])).get(to) !== undefined) await rmdir(to);
  await rename(partial, to);
  await syncDirectory(dirname(to));
}

async function finish({ from, to }: TakeOver): Promise<void> {
  if ((await readEntries([from])).get(from)?.kind === "directory") {
    await rename(from, asideOf(from));
    await syncDirectory(dirname(from));
  }
  await makeSymlink(from, to);
}

export async function applyTakeOver(action: TakeOverAction, context: ApplyContext): Promise<void> {
  if (action.kind === "storage/take-over") await copy(action.takeOver, context);
  await finish(action.takeOver);
  context.progress(`  ${basename(action.takeOver.from)} is kept at ${asideOf(action.takeOver.from)}`);
}
