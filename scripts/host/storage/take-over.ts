/**
 * Moves an existing lightning directory onto the volume, as Core Lightning's backup document describes it: lightningd gone, copied,
 * owner set, `diff -r` clean, a symlink in the old place. The old directory is kept aside.
 *
 * FROM stays whole and in its place until the copy is complete, compared and durable under TO. Then it is moved aside, and looked at
 * once more: nobody can open it by its name any more, so whoever has opened or changed it since is seen, and it is put back.
 * Interrupted anywhere, the next run finds one of these and goes on:
 * - FROM a directory, no TO: the copy was not complete; it is made anew.
 * - FROM a directory, TO the same: only FROM has to give way.
 * - FROM gone, kept aside: only the symlink is missing.
 */
import type { BigIntStats } from "node:fs";
import { lstat, readdir, readFile, rename, rm, rmdir, stat, statfs } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { VolumeDocument } from "../contract.ts";
import { makeSymlink, setOwnership, syncDirectory } from "../files.ts";
import { CommandFailed, must, run } from "../process.ts";
import { type Entry, readEntries } from "../read.ts";
import { type ApplyContext, type OwnAction, Refusal } from "../stage.ts";

export type TakeOver = NonNullable<VolumeDocument["takeOver"]>;

export interface TakeOverFacts {
  from: Entry | undefined;
  aside: Entry | undefined;
  to: "absent" | "empty" | "same" | "other";
  /** Files that a lightning directory of this node has and FROM has not: "bitcoin/hsm_secret (nothing there)". */
  lacking: string[];
  /** Processes that use the old directory, where it is now: "lightningd (4711)". */
  users: string[];
  fromIsMountPoint: boolean;
  /** The directory that has to hold the symlink is there. */
  hasParent: boolean;
}

export type TakeOverAction = OwnAction & { kind: "storage/take-over" | "storage/finish-take-over"; takeOver: TakeOver };

/** Where the old directory is kept. */
export const asideOf = (from: string): string => `${from}.before-twofold`;
const partialOf = (to: string): string => `${to}.partial`;

/** All that lies below a directory; symlinks are not followed, and what goes away meanwhile is left out. */
async function entriesBelow(directory: string): Promise<{ path: string; stats: BigIntStats }[]> {
  const entries: { path: string; stats: BigIntStats }[] = [];
  for (const name of await readdir(directory).catch(() => [])) {
    const path = join(directory, name);
    const stats = await lstat(path, { bigint: true }).catch(() => undefined);
    if (stats !== undefined) entries.push({ path, stats });
    if (stats?.isDirectory()) entries.push(...(await entriesBelow(path)));
  }
  return entries;
}

const idOf = ({ dev, ino }: BigIntStats): string => `${dev}:${ino}`;

/**
 * Processes that have something below a directory open, or work in it; as root, all of them. By inode and not by name: a
 * container has its own name for a directory that it was given.
 */
export async function usersOf(directory: string): Promise<string[]> {
  const ids = new Set((await entriesBelow(directory)).map(({ stats }) => idOf(stats)));
  ids.add(idOf(await stat(directory, { bigint: true })));
  const isBelow = async (link: string) => {
    const stats = await stat(link, { bigint: true }).catch(() => undefined);
    return stats !== undefined && ids.has(idOf(stats));
  };
  const users: string[] = [];
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    const open = await readdir(`/proc/${pid}/fd`).catch(() => []);
    const links = [`/proc/${pid}/cwd`, `/proc/${pid}/root`, ...open.map((fd) => `/proc/${pid}/fd/${fd}`)];
    if (!(await Promise.all(links.map(isBelow))).includes(true)) continue;
    const name = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "");
    users.push(`${name.trim() || "a process"} (${pid})`);
  }
  return users;
}

/** Inode, size and times of everything below a directory, by which a change is seen whoever made it. */
async function stateOf(directory: string): Promise<Map<string, string>> {
  return new Map(
    (await entriesBelow(directory)).map(({ path, stats: { ino, size, mtimeNs, ctimeNs } }) => [
      path.slice(directory.length + 1),
      `${ino} ${size} ${mtimeNs} ${ctimeNs}`,
    ]),
  );
}

/** Sockets, which a copy can't keep and `diff` can't compare: lightning-rpc of a lightningd that is gone. */
async function socketsBelow(directory: string): Promise<string[]> {
  return (await entriesBelow(directory)).filter(({ stats }) => stats.isSocket()).map(({ path }) => path);
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

/** Of the files that FROM must have, those that are not there; what a symlink points to would not come with it. */
async function lackingOf(from: string, holds: readonly string[]): Promise<string[]> {
  const found = await Promise.all(holds.map((name) => lstat(join(from, name)).catch(() => undefined)));
  return holds.flatMap((name, index) => {
    const stats = found[index];
    if (stats?.isFile()) return [];
    const instead = stats === undefined ? "nothing there" : stats.isSymbolicLink() ? "a symlink" : "no file";
    return [`${name} (${instead})`];
  });
}

export async function readTakeOver({ from, to, holds }: TakeOver): Promise<TakeOverFacts> {
  const aside = asideOf(from);
  const parent = dirname(from);
  const entries = await readEntries([from, to, aside, parent]);
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
  const isAside = found === undefined && entries.get(aside)?.kind === "directory";
  return {
    from: found,
    aside: entries.get(aside),
    to: await state(),
    lacking: isDirectory ? await lackingOf(from, holds) : [],
    users: isDirectory ? await usersOf(from) : isAside ? await usersOf(aside) : [],
    fromIsMountPoint: isDirectory && (await device(from)) !== (await device(parent)),
    hasParent: entries.get(parent) !== undefined,
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
  if (facts.lacking.length > 0) {
    refuse(
      "STORAGE-TAKE-OVER-NO-NODE",
      `${from} is to be taken over, and is not the lightning directory of this node`,
      `it lacks ${facts.lacking.join(" and ")}`,
      "all of it would be moved to the volume and another owner, and the node's wallet stay where it is",
      "name the directory that the running node has as --lightning-dir; a wallet that it has elsewhere, or behind a symlink, goes there first, as a file",
    );
  }
  if (facts.users.length > 0) {
    refuse(
      "STORAGE-TAKE-OVER-IN-USE",
      `${facts.from === undefined ? asideOf(from) : from} is in use`,
      facts.users.join(", "),
      "what lightningd commits during the copy would be missing in it, and an old state loses channels",
      "stop lightningd ('lightning-cli stop'; disable its old unit, remove its container), wait until it is gone, and run this again",
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
    const takeItOut = "take takeOver out of the config";
    if (exists === "same" || exists === "other") {
      if (facts.hasParent) return [{ kind: "storage/finish-take-over", item, summary, takeOver }];
      refuse(
        "STORAGE-TAKE-OVER-PARENT",
        `${from} is to be a symlink to ${to}, and has no place`,
        `there is no ${dirname(from)}`,
        "the node lies on the volume already; the symlink is for what knows the old place, and twofold makes no homes for it",
        `${takeItOut}; or make ${dirname(from)}, and run this again`,
      );
    }
    if (facts.aside !== undefined) {
      refuse(
        "STORAGE-TAKE-OVER-MISSING",
        `${from} was taken over, and what came of it is gone`,
        `the old directory lies at ${asideOf(from)}, but ${to} holds nothing`,
        "the old directory is from before the move: to start from it is to start from an old state, which loses channels",
        `${takeItOut}, and restore the newest copy (README, "The node's volume, or its host, is gone")`,
      );
    }
    refuse(
      "STORAGE-TAKE-OVER-MISSING",
      `${from} is to be taken over, and is not there`,
      `no ${from}, and nothing in ${to}`,
      "a node that starts without its directory is a new node with a new identity",
      `correct it; a node that is to be restored here, or a new one: ${takeItOut}`,
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

const RUN_AGAIN =
  "stop lightningd (disable its old unit, remove its container), wait until it is gone, and run this again";

async function refuseUsers(from: string): Promise<void> {
  const users = await usersOf(from);
  if (users.length === 0) return;
  throw new Error(
    `${from} came into use while it was being copied: ${users.join(", ")}\n` +
      "  why: its commits are not in the copy, so the copy was left aside and the directory stays where it is\n" +
      `  to do: ${RUN_AGAIN}`,
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

/** Leaves a whole copy at TO. Returns the state of FROM from before it. */
async function copy({ from, to, owner, group, mode }: TakeOver, context: ApplyContext): Promise<Map<string, string>> {
  const partial = partialOf(to);
  await refuseUsers(from);
  await rm(partial, { recursive: true, force: true });
  await refuseLackOfSpace(from, to);
  const before = await stateOf(from);
  context.progress(`  copying ${from}`);
  await must("cp", ["--archive", "--reflink=auto", "--no-target-directory", "--", from, partial]);
  for (const socket of await socketsBelow(partial)) await rm(socket);
  await must("chown", ["--recursive", "--no-dereference", `${owner}:${group}`, "--", partial]);
  await setOwnership(partial, { owner, group, mode });
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
  return before;
}

/** A whole copy that an interrupted run has left is looked at once more. Returns the state of FROM from before that. */
async function compare({ from, to }: TakeOver, context: ApplyContext): Promise<Map<string, string>> {
  const before = await stateOf(from);
  context.progress("  comparing (diff -r)");
  const differs = await difference(from, to);
  if (differs === undefined) return before;
  throw new Error(
    `${from} and its copy ${to} are not the same any more:\n    ${differs}\n` +
      "  why: something has changed one of them since the plan was made\n  to do: stop what uses it, and run this again",
  );
}

/** @param before State of FROM from before it was copied or compared. */
async function moveAside(
  { from, to }: TakeOver,
  before: ReadonlyMap<string, string>,
  context: ApplyContext,
): Promise<void> {
  const aside = asideOf(from);
  await rename(from, aside);
  await syncDirectory(dirname(from));
  const [users, after] = [await usersOf(aside), await stateOf(aside)];
  const changed = [...new Set([...before.keys(), ...after.keys()])].filter(
    (name) => before.get(name) !== after.get(name),
  );
  if (users.length > 0 || changed.length > 0) {
    await rename(aside, from);
    await syncDirectory(dirname(from));
    const used = [
      ...(users.length > 0 ? [`open in ${users.join(", ")}`] : []),
      ...changed.map((name) => `${name} changed`),
    ];
    throw new Error(
      `${from} was used since it was copied to ${to}: ${used.slice(0, 5).join(", ")}\n` +
        "  why: what was committed is not in the copy, so the directory was put back in its place\n" +
        `  to do: ${RUN_AGAIN}; if it refuses then, move ${to} away: it is the older of the two`,
    );
  }
  context.progress(`  ${from} is kept at ${aside}`);
}

export async function applyTakeOver({ kind, takeOver }: TakeOverAction, context: ApplyContext): Promise<void> {
  const { from, to } = takeOver;
  if (kind === "storage/take-over") await moveAside(takeOver, await copy(takeOver, context), context);
  else if ((await readEntries([from])).get(from)?.kind === "directory")
    await moveAside(takeOver, await compare(takeOver, context), context);
  await makeSymlink(from, to);
}
