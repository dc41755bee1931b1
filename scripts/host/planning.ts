/** What planners share: one managed thing as it is and as it should be gives the actions between the two. */
import type { Ownership } from "./contract.ts";
import type { Entry, Unit } from "./read.ts";
import { type CommonAction, type ItemName, Refusal } from "./stage.ts";

const ROOT = { owner: "root", group: "root" } as const;
/** Ownership of what everybody may read and root alone may change. */
export const ROOT_FILE: Ownership = { ...ROOT, mode: "0644" };
export const ROOT_PROGRAM: Ownership = { ...ROOT, mode: "0755" };
export const ROOT_DIRECTORY: Ownership = { ...ROOT, mode: "0755" };

const words = ({ owner, group, mode }: Ownership) => `${owner}:${group} ${mode}`;
const sameOwnership = (a: Ownership, b: Ownership) => words(a) === words(b);

function refuseOtherKind(path: string, entry: Entry, wanted: string): never {
  throw new Refusal({
    code: "HOST-IN-THE-WAY",
    what: `${path} must be a ${wanted}`,
    received: entry.kind === "symlink" ? `a symlink to ${entry.target}` : `a ${entry.kind}`,
    why: "somebody put it there, and twofold does not remove what it did not make",
    fix: `look at it, move it away if you don't need it, and run this again`,
  });
}

export function planFile(
  path: string,
  entry: Entry | undefined,
  content: string,
  ownership: Ownership = ROOT_FILE,
): CommonAction[] {
  const item: ItemName = `file:${path}`;
  if (entry === undefined) {
    return [{ kind: "write-file", item, summary: `write ${path} (${words(ownership)})`, path, content, ownership }];
  }
  if (entry.kind !== "file") refuseOtherKind(path, entry, "file");
  if (entry.content !== content) {
    return [{ kind: "write-file", item, summary: `write ${path} anew: its content differs`, path, content, ownership }];
  }
  return planOwnership(item, path, entry, ownership);
}

export function planDirectory(path: string, entry: Entry | undefined, ownership: Ownership): CommonAction[] {
  const item: ItemName = `directory:${path}`;
  if (entry === undefined) {
    return [{ kind: "make-directory", item, summary: `make directory ${path} (${words(ownership)})`, path, ownership }];
  }
  if (entry.kind !== "directory") refuseOtherKind(path, entry, "directory");
  return planOwnership(item, path, entry, ownership);
}

function planOwnership(item: ItemName, path: string, entry: Entry, ownership: Ownership): CommonAction[] {
  if (sameOwnership(entry, ownership)) return [];
  const summary = `give ${path} to ${words(ownership)}, now ${words(entry)}`;
  return [{ kind: "set-ownership", item, summary, path, ownership }];
}

export function planSymlink(path: string, entry: Entry | undefined, target: string): CommonAction[] {
  const item: ItemName = `symlink:${path}`;
  if (entry !== undefined && entry.kind !== "symlink") refuseOtherKind(path, entry, "symlink");
  if (entry?.target === target) return [];
  const from = entry === undefined ? "" : `, now ${entry.target}`;
  return [{ kind: "make-symlink", item, summary: `point ${path} to ${target}${from}`, path, target }];
}

/** A unit that starts at boot and runs now. */
export function planRunningUnit(unit: string, found: Unit | undefined): CommonAction[] {
  const item: ItemName = `unit:${unit}`;
  const actions: CommonAction[] = [];
  // A static unit has no [Install] section, so there is nothing to enable.
  if (found === undefined || !["enabled", "enabled-runtime", "static", "generated", "alias"].includes(found.enabled)) {
    actions.push({ kind: "enable-unit", item, summary: `enable ${unit}, now ${found?.enabled || "not there"}`, unit });
  }
  if (found?.active !== "active") {
    actions.push({ kind: "start-unit", item, summary: `start ${unit}, now ${found?.active ?? "not there"}`, unit });
  }
  return actions;
}

/** Whether an action leaves another content behind. */
export const changesFile = ({ kind }: CommonAction): boolean => kind === "write-file" || kind === "remove-file";

/** systemd reads its units again after one was written or removed by `files`, and where it says by itself that it should. */
export function planReload(item: ItemName, files: readonly CommonAction[], needsReload: boolean): CommonAction[] {
  const written = files.some(changesFile);
  if (!written && !needsReload) return [];
  const summary = "let systemd read its units again";
  return [{ kind: "daemon-reload", item, summary, ...(written ? { consequence: true as const } : {}) }];
}
