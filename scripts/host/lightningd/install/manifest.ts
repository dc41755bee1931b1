/** A record of an unpacked installation, so that a check of it costs one stat a file and not a hash. */
import { lstat, readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

export const MANIFEST_NAME = "twofold-manifest.json";

/** A file: size in bytes, mode in octal and mtime in milliseconds, all of which a change of content moves. */
type Entry = { size: number; mode: string; uid: number; modified: number } | { link: string };

export interface Manifest {
  /** What `lightningd --version` said. */
  version: string;
  entries: Record<string, Entry>;
}

async function readEntries(tree: string): Promise<Record<string, Entry>> {
  const entries: Record<string, Entry> = {};
  for (const name of await readdir(tree, { recursive: true })) {
    if (name === MANIFEST_NAME) continue;
    const path = join(tree, name);
    const stats = await lstat(path);
    if (stats.isDirectory()) continue;
    if (stats.isSymbolicLink()) {
      entries[name] = { link: await readlink(path) };
      continue;
    }
    const mode = (stats.mode & 0o7777).toString(8).padStart(4, "0");
    entries[name] = { size: stats.size, mode, uid: stats.uid, modified: Math.trunc(stats.mtimeMs) };
  }
  return entries;
}

export async function writeManifest(tree: string, version: string): Promise<void> {
  const manifest: Manifest = { version, entries: await readEntries(tree) };
  await writeFile(join(tree, MANIFEST_NAME), `${JSON.stringify(manifest, undefined, 1)}\n`, { mode: 0o644 });
}

/** Names of the files that differ between two records, sorted. */
export function changedEntries(before: Manifest["entries"], now: Manifest["entries"]): string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(now)])]
    .filter((name) => JSON.stringify(before[name]) !== JSON.stringify(now[name]))
    .sort();
}

export type TreeState =
  | { state: "absent" }
  | { state: "damaged"; changed: string[] }
  | { state: "ok"; version: string };

/** A tree gets its name only when it is complete, so one without a readable manifest is damaged. */
export async function readTree(tree: string): Promise<TreeState> {
  const now = await readEntries(tree).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (!now) return { state: "absent" };
  let manifest: Manifest;
  try {
    manifest = JSON.parse(await readFile(join(tree, MANIFEST_NAME), "utf8"));
  } catch {
    return { state: "damaged", changed: [MANIFEST_NAME] };
  }
  const changed = changedEntries(manifest.entries, now);
  return changed.length > 0 ? { state: "damaged", changed } : { state: "ok", version: manifest.version };
}
