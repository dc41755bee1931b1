/**
 * Whether a -wal or -journal was written for the database that it lies beside.
 *
 * SQLite does not ask: it plays a log into whatever file has its name. After a power cut and a copy put back over main by hand, the pages of
 * the last commits would come from the log and all others from the old file; every check finds that well-formed, and its `data_version`,
 * which is in each commit, is the newest one.
 *
 * That is also what gives it away, without a second copy and without reading more than the log. Each commit raises `data_version` by one, so a
 * log whose first commit made it n was begun on a database at n − 1, and no checkpoint of it brings the database past the log's last
 * commit. A database from within these bounds lacks nothing that the log does not bring. A rollback journal holds the one version
 * before its transaction, and its database is there or one ahead.
 */
import { open } from "node:fs/promises";

/** The database's own `data_version`, without its journals, and what these are. */
export interface Beneath {
  /** Undefined if the file alone can't be read, as in the middle of a checkpoint. A copy put back by hand can: it was whole once. */
  alone: number | undefined;
  /** With the journals applied. */
  recovered: number;
  /** Undefined if there is none, or no commit in it. */
  log: LogSeen | undefined;
}

export interface LogSeen {
  /** `data_version` after the first commit that has it; undefined if none has. */
  first: number | undefined;
  /** Every page of the database is in the log, as after lightningd's copy of main over the replica: the file beneath no longer counts. */
  complete: boolean;
}

/** Pure. @returns in words why database and journal don't belong together, undefined if they do */
export function strangeJournal({ alone, recovered, log }: Beneath): string | undefined {
  if (alone === undefined) return undefined;
  if (log === undefined)
    // One that is ahead is what lightningd's copy of main over the replica leaves when it is cut short; its version is then judged as it is.
    return alone < recovered
      ? `the database alone has data_version ${alone}, its -journal was made at ${recovered}`
      : undefined;
  if (log.complete || log.first === undefined) return undefined;
  return alone < log.first - 1 || alone > recovered
    ? `the database alone has data_version ${alone}, its -wal holds ${log.first} to ${recovered}`
    : undefined;
}

/** Frames that are read at once. */
const FRAMES = 256;
const HEADER = 32;
const FRAME_HEADER = 24;
/** The page with the bytes that POSIX locks are on is never used (sqlite.org/fileformat.html, "The Lock-Byte Page"). */
const LOCK_BYTE = 2 ** 30;

/**
 * Reads the commits of a -wal as recovery does: frames of the header's salts, up to the first whose checksum is wrong
 * (sqlite.org/fileformat.html, "The Write-Ahead Log").
 * @returns undefined if there is no commit in it
 */
export async function readLog(path: string): Promise<LogSeen | undefined> {
  const file = await open(path, "r");
  try {
    const header = Buffer.alloc(HEADER);
    if ((await file.read(header, 0, HEADER, 0)).bytesRead < HEADER) return undefined;
    const magic = header.readUInt32BE(0);
    if (magic !== 0x377f0682 && magic !== 0x377f0683) return undefined;
    const sum = checksum(magic === 0x377f0682);
    let last = sum(header.subarray(0, 24), [0, 0]);
    if (!matches(header, 24, last)) return undefined;
    const pageSize = header.readUInt32BE(8);
    const size = FRAME_HEADER + pageSize;
    const chunk = Buffer.alloc(FRAMES * size);

    let commits = 0;
    let pages = 0;
    let first: number | undefined;
    let inTransaction: number | undefined;
    const committed = new Set<number>();
    let pending: number[] = [];
    reading: for (let at = HEADER; ; at += chunk.length) {
      const { bytesRead } = await file.read(chunk, 0, chunk.length, at);
      for (let offset = 0; offset + size <= bytesRead; offset += size) {
        const frame = chunk.subarray(offset, offset + size);
        if (!frame.subarray(8, 16).equals(header.subarray(16, 24))) break reading;
        last = sum(frame.subarray(FRAME_HEADER), sum(frame.subarray(0, 8), last));
        if (!matches(frame, 16, last)) break reading;
        pending.push(frame.readUInt32BE(0));
        // Of one transaction the last one counts: a page may reach the log before its commit, too.
        if (first === undefined) inTransaction = dataVersionIn(frame.subarray(FRAME_HEADER)) ?? inTransaction;
        const pagesAfterCommit = frame.readUInt32BE(4);
        if (pagesAfterCommit === 0) continue;
        commits++;
        pages = pagesAfterCommit;
        for (const page of pending) committed.add(page);
        pending = [];
        first ??= inTransaction;
      }
      if (bytesRead < chunk.length) break;
    }
    if (commits === 0) return undefined;
    return { first, complete: holdsAll(committed, pages, LOCK_BYTE / pageSize + 1) };
  } finally {
    await file.close();
  }
}

function holdsAll(committed: Set<number>, pages: number, lockPage: number): boolean {
  for (let page = 1; page <= pages; page++) if (page !== lockPage && !committed.has(page)) return false;
  return true;
}

type Sum = [number, number];

const checksum =
  (littleEndian: boolean) =>
  (bytes: Buffer, [before, after]: Sum): Sum => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let [one, two] = [before, after];
    for (let at = 0; at < bytes.length; at += 8) {
      one = (one + view.getInt32(at, littleEndian) + two) | 0;
      two = (two + view.getInt32(at + 4, littleEndian) + one) | 0;
    }
    return [one, two];
  };

const matches = (bytes: Buffer, at: number, [one, two]: Sum) =>
  bytes.readInt32BE(at) === one && bytes.readInt32BE(at + 4) === two;

const NAME = Buffer.from("data_version", "latin1");
/** Of a text of that length, and of a page with a table's rows (sqlite.org/fileformat.html, "Record Format", "B-tree Pages"). */
const TEXT = 13 + 2 * NAME.length;
const LEAF_OF_TABLE = 0x0d;
/** Bytes of an integer by its serial type; 8 and 9 are the values 0 and 1. */
const INTEGER_BYTES = new Map([
  [1, 1],
  [2, 2],
  [3, 3],
  [4, 4],
  [5, 6],
  [6, 8],
]);

/** `vars.data_version`, if the page has that row: the first integer of a record whose first column is its name. */
export function dataVersionIn(page: Buffer): number | undefined {
  if (page[0] !== LEAF_OF_TABLE || !page.includes(NAME)) return undefined;
  const cells = page.readUInt16BE(3);
  for (let cell = 0; cell < cells; cell++) {
    const found = integerOf(page, page.readUInt16BE(8 + 2 * cell));
    if (found !== undefined) return found;
  }
  return undefined;
}

function integerOf(page: Buffer, cell: number): number | undefined {
  const [, rowid] = varint(page, cell);
  const [, record] = varint(page, rowid);
  const [headerBytes, types] = varint(page, record);
  const [name, more] = varint(page, types);
  let value = record + headerBytes;
  if (name !== TEXT || !page.subarray(value, value + NAME.length).equals(NAME)) return undefined;
  value += NAME.length;
  for (let at = more; at < record + headerBytes; ) {
    const [type, next] = varint(page, at);
    const bytes = INTEGER_BYTES.get(type);
    if (type === 8 || type === 9) return type - 8;
    if (bytes !== undefined) return bytes === 8 ? Number(page.readBigInt64BE(value)) : page.readIntBE(value, bytes);
    if (type > 11) value += Math.floor((type - 12) / 2);
    else if (type === 7) value += 8;
    at = next;
  }
  return undefined;
}

/** A number of up to nine bytes, of which no page's has more than five, and where the next one begins. */
function varint(bytes: Buffer, at: number): [number, number] {
  let value = 0;
  for (let next = at; next < at + 8; next++) {
    const byte = bytes[next] ?? 0;
    value = value * 128 + (byte & 0x7f);
    if (byte < 0x80) return [value, next + 1];
  }
  return [value * 256 + (bytes[at + 8] ?? 0), at + 9];
}
