/** Reading a host. Nothing here changes anything; what parses text is pure and exported for tests. */
import type { Stats } from "node:fs";
import { lstat, readFile, readlink } from "node:fs/promises";
import type { Ownership } from "./contract.ts";
import { must, run } from "./process.ts";

const isMissing = (error: unknown) =>
  error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");

/** A file's text, or undefined if there is none. */
export async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** The accounts of a host: names by number. Only local ones; system accounts are. */
export interface Accounts {
  users: Map<number, string>;
  groups: Map<number, string>;
}

/** Lines of passwd(5) or group(5): name by number. */
export function parseIds(text: string): Map<number, string> {
  const ids = new Map<number, string>();
  for (const line of text.split("\n")) {
    const [name, , id] = line.split(":");
    if (name && id !== undefined && !ids.has(Number(id))) ids.set(Number(id), name);
  }
  return ids;
}

export async function readAccounts(): Promise<Accounts> {
  const [passwd, group] = await Promise.all([readText("/etc/passwd"), readText("/etc/group")]);
  return { users: parseIds(passwd ?? ""), groups: parseIds(group ?? "") };
}

/** Numbers of an owner and a group. @throws if the host has no such account */
export async function accountIds({
  owner,
  group,
}: Pick<Ownership, "owner" | "group">): Promise<{ uid: number; gid: number }> {
  const { users, groups } = await readAccounts();
  const find = (ids: Map<number, string>, name: string, what: string) => {
    for (const [id, each] of ids) if (each === name) return id;
    throw new Error(`there is no ${what} '${name}' on this host; stage base makes it`);
  };
  return { uid: find(users, owner, "user"), gid: find(groups, group, "group") };
}

/** What lies at a path. `owner` and `group` are numbers as text where the host has no name for them. */
export interface Entry extends Ownership {
  kind: "file" | "directory" | "symlink" | "other";
  /** Of a file, if it was asked for. */
  content?: string;
  /** Of a symlink. */
  target?: string;
}

const kindOf = (stats: Stats): Entry["kind"] =>
  stats.isFile() ? "file" : stats.isDirectory() ? "directory" : stats.isSymbolicLink() ? "symlink" : "other";

/** One path, or undefined if there is nothing. Symlinks are not followed. */
export async function readEntry(
  path: string,
  accounts: Accounts,
  options: { content?: boolean } = {},
): Promise<Entry | undefined> {
  try {
    const stats = await lstat(path);
    const kind = kindOf(stats);
    return {
      kind,
      owner: accounts.users.get(stats.uid) ?? String(stats.uid),
      group: accounts.groups.get(stats.gid) ?? String(stats.gid),
      mode: (stats.mode & 0o7777).toString(8).padStart(4, "0"),
      ...(kind === "symlink" ? { target: await readlink(path) } : {}),
      ...(kind === "file" && options.content ? { content: await readFile(path, "utf8") } : {}),
    };
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Several paths at once, with the contents of the files among them. */
export async function readEntries(paths: readonly string[]): Promise<Map<string, Entry | undefined>> {
  const accounts = await readAccounts();
  const entries = await Promise.all(paths.map((path) => readEntry(path, accounts, { content: true })));
  return new Map(paths.map((path, index) => [path, entries[index]]));
}

/** A systemd unit, in systemd's own words (systemctl(1), "show"). */
export interface Unit {
  load: string;
  active: string;
  sub: string;
  /** "enabled", "disabled", "static", …; empty for a unit without a file. */
  enabled: string;
  needsReload: boolean;
  mainPid: number;
  /** Start of the present main process, in µs since boot; 0 if it isn't running. */
  startedAt: number;
}

const UNIT_PROPERTIES = [
  "LoadState",
  "ActiveState",
  "SubState",
  "UnitFileState",
  "NeedDaemonReload",
  "MainPID",
  "ExecMainStartTimestampMonotonic",
];

/** Blocks of `systemctl show`, in the order in which the units were asked for (an alias answers with another name). */
export function parseUnits(names: readonly string[], text: string): Map<string, Unit> {
  const blocks = text.trim() === "" ? [] : text.trim().split(/\n\n+/);
  return new Map(
    names.map((name, index) => {
      const values = new Map<string, string>();
      for (const line of (blocks[index] ?? "").split("\n")) {
        const equals = line.indexOf("=");
        if (equals > 0) values.set(line.slice(0, equals), line.slice(equals + 1));
      }
      return [
        name,
        {
          load: values.get("LoadState") ?? "not-found",
          active: values.get("ActiveState") ?? "inactive",
          sub: values.get("SubState") ?? "dead",
          enabled: values.get("UnitFileState") ?? "",
          needsReload: values.get("NeedDaemonReload") === "yes",
          mainPid: Number(values.get("MainPID") ?? 0),
          startedAt: Number(values.get("ExecMainStartTimestampMonotonic") ?? 0),
        },
      ];
    }),
  );
}

/** All units in one question. */
export async function readUnits(names: readonly string[]): Promise<Map<string, Unit>> {
  if (names.length === 0) return new Map();
  const shown = await must("systemctl", ["show", `--property=${UNIT_PROPERTIES.join(",")}`, "--", ...names]);
  return parseUnits(names, shown);
}

/** Of `dpkg-query --show`: the packages that are installed wholly. */
export function parsePackages(text: string): Set<string> {
  const installed = new Set<string>();
  for (const line of text.split("\n")) {
    const [name, state] = line.split(" ");
    if (name && state === "installed") installed.add(name);
  }
  return installed;
}

// biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders
const FORMAT = "${Package} ${db:Status-Status}\\n";

/** Which of these packages are installed, in one question. */
export async function readPackages(names: readonly string[]): Promise<Set<string>> {
  if (names.length === 0) return new Set();
  // Status 1 says that some are not known, which is an answer.
  const asked = await run("dpkg-query", ["--show", `--showformat=${FORMAT}`, "--", ...names]);
  return parsePackages(asked.stdout);
}

/** One line of /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export interface Mount {
  /** Mount point. */
  target: string;
  type: string;
  source: string;
  /** Options of the mount and of the filesystem. */
  options: string[];
}

const unescapeOctal = (text: string) =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

export function parseMounts(text: string): Mount[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [before = "", after = ""] = line.split(" - ");
      const fields = before.split(" ");
      const [type = "", source = "", superOptions = ""] = after.split(" ");
      return {
        target: unescapeOctal(fields[4] ?? ""),
        type,
        source: unescapeOctal(source),
        options: [...new Set([...(fields[5] ?? "").split(","), ...superOptions.split(",")])],
      };
    });
}

export async function readMounts(): Promise<Mount[]> {
  return parseMounts(await readFile("/proc/self/mountinfo", "utf8"));
}

/** What is mounted at a path: the last one is on top. */
export const mountAt = (mounts: readonly Mount[], target: string): Mount | undefined =>
  mounts.findLast((mount) => mount.target === target);
