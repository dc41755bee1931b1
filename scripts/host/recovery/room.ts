/** Whether a copy of the wallet has room, before anything is stopped or moved for it. */
import { stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { JOURNAL_SUFFIXES } from "../gate/copy.ts";
import { Refusal } from "../stage.ts";
import { partName } from "./files.ts";

/** What the filesystem itself needs beside the file. */
const MARGIN = 16 * 2 ** 20;

const sizeOf = async (path: string) => (await stat(path).catch(() => undefined))?.size ?? 0;
const mebibytes = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;

/**
 * A copy of `from` fits beside `to`, where what is there now is kept. A place that can't be seen is passed over: the work says what is wrong
 * with it.
 * @throws {Refusal}
 */
export async function requireRoom(from: string, to: string): Promise<void> {
  const place = await statfs(dirname(to)).catch(() => undefined);
  if (place === undefined) return;
  const [database, ...journals] = await Promise.all(["", ...JOURNAL_SUFFIXES].map((suffix) => sizeOf(from + suffix)));
  // A journal is copied beside the database, and then applied to it.
  const needed = (database ?? 0) + 2 * journals.reduce((sum, size) => sum + size, 0) + MARGIN;
  // What an interrupted copy left is removed first.
  const left = await Promise.all(["", ...JOURNAL_SUFFIXES].map((suffix) => sizeOf(partName(to) + suffix)));
  const free = place.bavail * place.bsize + left.reduce((sum, size) => sum + size, 0);
  if (free >= needed) return;
  throw new Refusal({
    code: "RECOVERY-NO-ROOM",
    what: `a copy of ${from} does not fit beside ${to}`,
    received: `${mebibytes(free)} are free there, ${mebibytes(needed)} are needed`,
    why: "the copy would fail half-way, with the node stopped for nothing",
    fix: `make room on that volume; former copies that are not needed any more are in ${to}.replaced-*`,
  });
}
