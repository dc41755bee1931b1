/** Copies that were put aside beside main and replica: by `restore` and `resync`, or by an operator's hand under a longer name. */
import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { SqliteNodeDocument } from "../contract.ts";
import { JOURNAL_SUFFIXES, readCopy } from "./copy.ts";
import type { AsideCopy } from "./observed.ts";

/** More than anybody keeps; each takes some milliseconds. */
const MOST = 50;

/** The versions of all copies beside the wallet's files, the newest first. What can't be read is left out: nothing rests on it. */
export async function copiesAside({ wallet }: SqliteNodeDocument): Promise<AsideCopy[]> {
  const paths = [wallet.main, ...(wallet.replica ? [wallet.replica.path] : [])];
  const candidates = (await Promise.all(paths.map(besides))).flat().slice(0, MOST);
  const found: AsideCopy[] = [];
  for (const path of candidates) {
    const copy = await readCopy(path, "none").catch(() => undefined);
    if (copy?.state === "wallet") found.push({ path, version: copy.version });
  }
  return found.sort((a, b) => b.version - a.version);
}

/** `lightningd.sqlite3.old`, and `lightningd.sqlite3` in the directory `lightningd.sqlite3.replaced-…`. */
async function besides(path: string): Promise<string[]> {
  const [directory, name] = [dirname(path), basename(path)];
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.name.startsWith(`${name}.`) && !JOURNAL_SUFFIXES.some((end) => entry.name.endsWith(end)))
    .map((entry) => (entry.isDirectory() ? join(directory, entry.name, name) : join(directory, entry.name)));
}
