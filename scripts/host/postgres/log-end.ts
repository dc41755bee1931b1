/** How far the log of a member goes whose server is stopped. Parsers are pure. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { binDirectory, dataDirectory } from "../../../templates/patroni.ts";
import type { PostgresDocument } from "../contract.ts";
import { CommandFailed, must, run } from "../process.ts";
import { readEntries, readText } from "../read.ts";

export interface LogEnd {
  systemIdentifier: string;
  timeline: number;
  /** End of the last whole record (an LSN). */
  position: string;
  /** The data is a copy that was never finished: it holds what a server can't be started from. */
  unfinished: boolean;
}

/** Of pg_controldata(1). */
export interface Control {
  systemIdentifier: string;
  timeline: number;
  /** Where recovery begins. */
  redo: string;
  unfinished: boolean;
}

export function parseControl(text: string): Control | undefined {
  const value = (name: string) => new RegExp(`^${name}:\\s+(\\S.*)$`, "m").exec(text)?.[1];
  const systemIdentifier = value("Database system identifier");
  const timeline = Number(value("Latest checkpoint's TimeLineID"));
  const redo = value("Latest checkpoint's REDO location");
  if (systemIdentifier === undefined || redo === undefined || !(timeline > 0)) return undefined;
  const start = value("Backup start location");
  return { systemIdentifier, timeline, redo, unfinished: start !== undefined && start !== "0/0" };
}

/** The end that `pg_waldump --stats` gives of what it read, undefined if there was no whole record. */
export function parseLogEnd(text: string): string | undefined {
  const [, begin, end] =
    /^WAL statistics between ([0-9A-F]+\/[0-9A-F]+) and ([0-9A-F]+\/[0-9A-F]+):$/m.exec(text) ?? [];
  return begin === undefined || end === undefined || compareLsn(end, begin) <= 0 ? undefined : end;
}

/** An LSN as a number. */
function bytesOf(lsn: string): bigint {
  const [high = "0", low = "0"] = lsn.split("/");
  return (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`);
}

/** Less than 0 if `a` comes before `b`. */
export function compareLsn(a: string, b: string): number {
  const difference = bytesOf(a) - bytesOf(b);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/** A later history first: whoever was promoted had every acknowledged commit of the one before. */
export function compareEnds(
  a: Pick<LogEnd, "timeline" | "position">,
  b: Pick<LogEnd, "timeline" | "position">,
): number {
  return a.timeline - b.timeline || compareLsn(a.position, b.position);
}

const SEGMENT_BYTES = 16n * 1024n * 1024n;

/** Where reading may begin in each history of a log, the latest first. Names are those of the log's files. */
export function startsOf(names: readonly string[], { timeline, redo }: Control): { timeline: number; start: string }[] {
  const first = new Map<number, bigint>();
  for (const name of names) {
    const [, history, high, low] = /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})$/.exec(name) ?? [];
    if (history === undefined) continue;
    const start = (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`) * SEGMENT_BYTES;
    const known = first.get(Number.parseInt(history, 16));
    if (known === undefined || start < known) first.set(Number.parseInt(history, 16), start);
  }
  const lsn = (bytes: bigint) => `${(bytes >> 32n).toString(16)}/${(bytes & 0xffff_ffffn).toString(16)}`.toUpperCase();
  return [...first]
    .filter(([history]) => history >= timeline)
    .sort(([a], [b]) => b - a)
    .map(([history, start]) => ({ timeline: history, start: history === timeline ? redo : lsn(start) }));
}

/** Undefined where the member has no data. @throws if it has some whose end can't be told */
export async function readLogEnd(document: PostgresDocument): Promise<LogEnd | undefined> {
  const directory = dataDirectory(document);
  if ((await readText(`${directory}/PG_VERSION`)) === undefined) return undefined;
  const bin = binDirectory(document.version);
  const control = parseControl(await must(`${bin}/pg_controldata`, [directory]));
  if (control === undefined) throw new Error(`pg_controldata says nothing of the data in ${directory}`);
  const { systemIdentifier } = control;
  const label = join(directory, "backup_label");
  const unfinished = control.unfinished || (await readEntries([label])).get(label) !== undefined;
  const log = join(directory, "pg_wal");
  const words = ["--stats", `--path=${log}`];
  let failure: CommandFailed | undefined;
  for (const { timeline, start } of startsOf(await readdir(log), control)) {
    const read = [...words, `--timeline=${timeline}`, `--start=${start}`];
    // It ends with an error wherever a log ends that was not filled up; a recycled file has no record of its own.
    const ran = await run(`${bin}/pg_waldump`, read);
    const position = parseLogEnd(ran.stdout);
    if (position !== undefined) return { systemIdentifier, timeline, position, unfinished };
    failure = new CommandFailed("pg_waldump", read, ran);
  }
  if (unfinished) return { systemIdentifier, timeline: control.timeline, position: control.redo, unfinished };
  throw failure ?? new Error(`there is no log in ${log}`);
}
