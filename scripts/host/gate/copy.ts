/**
 * Reads one of the wallet's files without opening it.
 *
 * A database with a hot journal is rolled back by whoever opens it, and a WAL is checkpointed by whoever closes it last. The gate must
 * leave every byte as it is, so SQLite gets a copy to work on: database, journal and -wal, never the -shm (it holds nothing).
 */
import { execFile } from "node:child_process";
import { constants, existsSync, readFileSync, type Stats } from "node:fs";
import { copyFile, link, mkdtemp, open, readdir, rm, stat } from "node:fs/promises";
import { freemem, hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import type { JournalMode } from "../contract.ts";
import { readJournalMode, SQLITE_HEADER_BYTES } from "../lightningd/journal-mode.ts";
import { readLog, strangeJournal } from "./journal-of.ts";
import type { CopyState } from "./observed.ts";

const run = promisify(execFile);

/** Suffixes of the files that recovery needs (sqlite.org/fileformat.html, "The Rollback Journal", "The Write-Ahead Log"). */
export const JOURNAL_SUFFIXES = ["-journal", "-wal"] as const;
export const JOURNAL_MODES: readonly JournalMode[] = ["wal", "delete"];

/**
 * Names the process that works in it, so that what a killed one has left can be told from what another one is at work in. With the host's
 * name, because two hosts read in one directory, and the boot's, after which another process has the number.
 */
const scratchPrefix = (pid: number | "") => `.twofold-read-${hostname()}-${bootId().slice(0, 8)}-${pid}`;
const OF_THIS_HOST = `.twofold-read-${hostname()}-`;
const bootId = () => readFileSync("/proc/sys/kernel/random/boot_id", "latin1");

/**
 * "none": the versions only. "quick": `PRAGMA quick_check` too, every page's structure, about 1.3 s for each GB. "full":
 * `PRAGMA integrity_check`, also every index against its table, about 13 s for each GB (both measured on 2 cores, 0.9 GB, in memory:
 * see {@link readAhead}).
 */
export const CHECKS = ["none", "quick", "full"] as const;
export type Check = (typeof CHECKS)[number];

/** What identifies the bytes of a closed file well enough to know that nobody has written to it since. */
export interface Fingerprint {
  inode: string;
  bytes: string;
  modified: string;
}

export async function fingerprint(path: string): Promise<Fingerprint | undefined> {
  const found = await stat(path, { bigint: true }).catch(ignoreAbsence);
  if (found === undefined) return undefined;
  return { inode: `${found.ino}`, bytes: `${found.size}`, modified: `${found.mtimeNs}` };
}

const sameFingerprint = (a: Fingerprint | undefined, b: Fingerprint | undefined) =>
  a !== undefined && b !== undefined && a.inode === b.inode && a.bytes === b.bytes && a.modified === b.modified;

/** A database together with the journals that recovery would read. */
export interface WalletFingerprint {
  database: Fingerprint | undefined;
  /** In the order of {@link JOURNAL_SUFFIXES}; a journal without content counts as none. */
  journals: (Fingerprint | undefined)[];
}

export async function walletFingerprint(path: string): Promise<WalletFingerprint> {
  const [database, ...journals] = await Promise.all(
    ["", ...JOURNAL_SUFFIXES].map((suffix) => fingerprint(path + suffix)),
  );
  return { database, journals: journals.map((journal) => (journal?.bytes === "0" ? undefined : journal)) };
}

/**
 * How thoroughly a file has to be looked at.
 *
 * As a clean stop left it: not again; its disk's checksums and scrubs watch over bits at rest. The same file changed since, as every
 * crash leaves it: wholly if it is small, else page by page, because a node that stands still for minutes loses money too, and what a crash
 * can tear is found there. A file that came from elsewhere, by a restore or an operator's hand: wholly.
 */
export function checkNeeded(closed: Fingerprint | undefined, found: WalletFingerprint | undefined): Check {
  if (closed === undefined || found?.database === undefined || found.database.inode !== closed.inode) return "full";
  const asClosed = found.journals.every((journal) => journal === undefined) && sameFingerprint(closed, found.database);
  if (asClosed) return "none";
  return Number(found.database.bytes) <= SMALL ? "full" : "quick";
}

/** Bytes up to which the full check of a file takes about a second, so that a crash costs no more. */
const SMALL = 64 * 2 ** 20;

/**
 * Errors of a place that is not there at the moment: a dead network mount, a disk that fails or is gone, and a volume that nothing can be
 * written to, be it that BTRFS made it read-only after errors or that it is full. None of them says anything of the wallet.
 */
const UNREACHABLE = new Set([
  ...["ENOTCONN", "ESTALE", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ECONNRESET"],
  ...["EIO", "ENXIO", "ENODEV", "EROFS", "ENOSPC", "EDQUOT"],
  ...["EACCES", "EPERM"],
]);

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

function ignoreAbsence(error: unknown): undefined {
  if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return undefined;
  throw error;
}

/** Reads the file at `path`, which nobody writes to. Takes about 20 ms without a check on a filesystem with reflinks. */
export function readCopy(path: string, check: Check): Promise<CopyState> {
  return whereReachable(path, async () => {
    const found = await stat(path).catch(ignoreAbsence);
    if (found === undefined) return { state: "absent", path };
    if (!found.isFile()) return { state: "damaged", path, why: "it is not a regular file" };
    if (found.size === 0 && !(await hasJournal(path))) return { state: "blank", path, journalMode: undefined };
    const scratch = await mkdtemp(join(dirname(path), `${scratchPrefix(process.pid)}-`));
    try {
      const copy = await whereReachable(path, () => readInScratch(path, scratch, found, check));
      if (!couldBeRot(copy)) return copy;
      // Of the file itself the kernel may have pages that the disk has no more.
      const rotten = (await isRotten(path)) || (await isRotten(join(scratch, basename(path))));
      return rotten ? { path, state: "unreadable", why: copy.why } : copy;
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  });
}

/** What the place answers is a state of the copy, if it is one of {@link UNREACHABLE}. */
async function whereReachable(path: string, read: () => Promise<CopyState>): Promise<CopyState> {
  try {
    return await read();
  } catch (error) {
    const code = codeOf(error);
    if (code !== undefined && UNREACHABLE.has(code))
      return { state: "unreachable", path, why: error instanceof Error ? error.message : code };
    throw error;
  }
}

async function readInScratch(path: string, scratch: string, found: Stats, check: Check): Promise<CopyState> {
  const { file, readOnly } = await duplicate(path, scratch, JOURNAL_SUFFIXES);
  const wallet = await asked(() => queryWallet(file, readOnly));
  // Recovery may have brought the header back, so it is read after the queries.
  const mode = readJournalMode(await header(file));
  if ("why" in wallet) return { path, ...wallet };
  if (mode === "foreign") return { state: "damaged", path, why: "its header is not SQLite's" };
  if (mode === "empty" || wallet.state === "blank")
    return { state: "blank", path, journalMode: mode === "empty" ? undefined : mode };
  if (check !== "none") {
    // A file that is read without a check is being written to, or was closed by what has just stopped.
    const strange = await journalOfAnother(path, scratch, wallet.version);
    if (strange !== undefined) return { path, ...strange };
    // After it: what SQLite makes of two databases is often malformed, too, and would be called a fault of the disk.
    const failed = await asked(() => checkPages(file, readOnly, check));
    if (failed !== undefined) return { path, ...failed };
  }
  return { ...wallet, path, journalMode: mode, bytes: found.size };
}

/** EIO in the words of SQLite, of Node, and of {@link readFailure}. */
const INPUT_OUTPUT = /i\/o error|SIGBUS/i;

/** SQLite calls a file malformed, too, of which a block can't be read (os_unix.c, SQLITE_IOERR_CORRUPTFS). */
function couldBeRot(copy: CopyState): copy is Extract<CopyState, { state: "damaged" | "unreachable" }> {
  return copy.state === "damaged" || (copy.state === "unreachable" && INPUT_OUTPUT.test(copy.why));
}

/** Whether a read of the file's own bytes, or of its journals', is what fails. */
async function isRotten(path: string): Promise<boolean> {
  for (const suffix of ["", ...JOURNAL_SUFFIXES]) {
    try {
      await readThrough(path + suffix);
    } catch (error) {
      if (codeOf(error) === "EIO") return true;
    }
  }
  return false;
}

async function readThrough(path: string): Promise<void> {
  const file = await open(path, "r");
  const chunk = Buffer.alloc(2 ** 20);
  try {
    while ((await file.read(chunk)).bytesRead > 0);
  } finally {
    await file.close();
  }
}

/** A check wants the file in memory together with what the other copy's check has there, which may be on the same host. */
const COPIES_IN_MEMORY = 2;

/**
 * Brings the file at `path` into the page cache, from its first byte to its last. A check reads in the order of its trees, and the copy that
 * it reads has no pages in memory, even if the original has all of them: page by page from the disk it took 19 s for 1.2 GB, and after
 * this 0.7 + 1.2 s (both measured on 2 cores). A file that has no room there is left to the check.
 */
async function readAhead(path: string): Promise<void> {
  const { size } = await stat(path);
  if (size * COPIES_IN_MEMORY <= freemem()) await readThrough(path);
}

async function hasJournal(path: string): Promise<boolean> {
  for (const suffix of JOURNAL_SUFFIXES) {
    const found = await stat(path + suffix).catch(ignoreAbsence);
    if (found !== undefined && found.size > 0) return true;
  }
  return false;
}

/** What {@link strangeJournal} says of the file at `path`, which has the version `recovered` once its journals are applied. */
async function journalOfAnother(
  path: string,
  scratch: string,
  recovered: number,
): Promise<{ state: "mixed" | WalletFailed["state"]; why: string } | undefined> {
  if (!(await hasJournal(path))) return undefined;
  const directory = await mkdtemp(join(scratch, "alone-"));
  const { file, readOnly } = await duplicate(path, directory, []);
  const alone = await versionAlone(file, readOnly);
  if (typeof alone === "object") return alone;
  const log = await readLog(`${path}-wal`).catch(ignoreAbsence);
  const why = strangeJournal({ alone, recovered, log });
  return why === undefined ? undefined : { state: "mixed", why };
}

/**
 * The version of a database whose journals are not there. SQLite takes a file that a checkpoint was at work on for malformed, since it
 * is shorter than its header says; with this pragma it reads it all the same.
 * @returns undefined if even so no version can be read, a failure if that says nothing of the file
 */
async function versionAlone(file: string, readOnly: boolean): Promise<number | WalletFailed | undefined> {
  const options = ["-cmd", ".dbconfig defensive off", "-cmd", "PRAGMA writable_schema = ON"];
  try {
    const wallet = await queryWallet(file, readOnly, options);
    return wallet.state === "wallet" ? wallet.version : undefined;
  } catch (error) {
    // sqlite3 was not run at all.
    if (codeOf(error) !== undefined) throw error;
    const failed = readFailure(error);
    return failed?.state === "unreachable" ? failed : undefined;
  }
}

async function header(path: string): Promise<Uint8Array> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(SQLITE_HEADER_BYTES), 0, SQLITE_HEADER_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/**
 * A second name for the same bytes, as cheaply as the filesystem allows: a reflink (BTRFS, XFS); else a hard link, which SQLite may
 * only read, and which takes the -wal from its own directory; else, for a hot rollback journal without reflinks, a copy.
 */
async function duplicate(
  path: string,
  directory: string,
  journals: readonly string[],
): Promise<{ file: string; readOnly: boolean }> {
  const file = join(directory, basename(path));
  for (const suffix of journals)
    await copyFile(path + suffix, file + suffix, constants.COPYFILE_FICLONE).catch(ignoreAbsence);
  try {
    await copyFile(path, file, constants.COPYFILE_FICLONE_FORCE);
    return { file, readOnly: false };
  } catch (error) {
    await rm(file, { force: true });
    // Of a place that fails, or has no room, a second name would be one for a file that may be in use, and no copy of it.
    if (!hasNoReflinks(error)) throw error;
  }
  const journal = await stat(`${file}-journal`).catch(ignoreAbsence);
  if (journal !== undefined && journal.size > 0) {
    await copyFile(path, file);
    return { file, readOnly: false };
  }
  await link(path, file);
  return { file, readOnly: true };
}

/** What a filesystem without reflinks answers (ioctl_ficlone(2)); one over FUSE does not know the request. */
const NO_REFLINKS = new Set(["ENOTSUP", "EOPNOTSUPP", "EXDEV", "EINVAL", "ENOTTY", "ENOSYS"]);
export const hasNoReflinks = (error: unknown) => NO_REFLINKS.has(codeOf(error) ?? "");

/** Bytes of a file that SQLite may map: more than any wallet has, and below SQLite's own limit of 2 GiB less 64 KiB it takes what it can. */
const MAPPED = 2 ** 31;

type WalletRead =
  | { state: "blank" }
  | { state: "damaged" | "unreachable"; why: string }
  | { state: "wallet"; version: number; nodeId: string | undefined };

async function sqlite(file: string, readOnly: boolean, sql: string, more: string[] = []): Promise<string[]> {
  // The timeout is for the live main, which lightningd may be writing to; a copy is nobody else's.
  const options = [
    "-batch",
    "-bail",
    "-init",
    "/dev/null",
    "-cmd",
    ".timeout 2000",
    "-noheader",
    "-list",
    ...(readOnly ? ["-readonly"] : []),
    ...more,
  ];
  const { stdout } = await run("sqlite3", [...options, file, sql], { maxBuffer: 2 ** 20 });
  return stdout.split("\n").filter((line) => line !== "");
}

type WalletFailed = Extract<WalletRead, { why: string }>;

/** What SQLite finds wrong as an answer instead of an error. */
async function asked<T>(query: () => Promise<T>): Promise<T | WalletFailed> {
  try {
    return await query();
  } catch (error) {
    const found = readFailure(error);
    if (found === undefined) throw error;
    return found;
  }
}

async function queryWallet(file: string, readOnly: boolean, more: string[] = []): Promise<WalletRead> {
  const tables = await sqlite(
    file,
    readOnly,
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = 'vars'",
    more,
  );
  if (tables.length === 0) return { state: "blank" };
  return parseWallet(await sqlite(file, readOnly, WALLET_QUERY, more));
}

async function checkPages(
  file: string,
  readOnly: boolean,
  check: Exclude<Check, "none">,
): Promise<WalletFailed | undefined> {
  await readAhead(file);
  const pragma = check === "full" ? "integrity_check" : "quick_check";
  // Mapped, what is in memory is checked in two thirds of the time. The first line answers the mapping.
  const [, ...problems] = await sqlite(file, readOnly, `PRAGMA mmap_size = ${MAPPED}; PRAGMA ${pragma}(3)`);
  return problems.join() === "ok" ? undefined : { state: "damaged", why: `${pragma} says ${problems.join("; ")}` };
}

/** `vars` has the columns name, intval, blobval, textval (Core Lightning, wallet/migrations.c). */
const WALLET_QUERY =
  "SELECT name || '=' || CASE name WHEN 'data_version' THEN intval ELSE lower(hex(blobval)) END FROM vars WHERE name IN ('data_version', 'node_id')";

export function parseWallet(lines: string[]): WalletRead {
  const values = new Map(lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]));
  const version = values.get("data_version");
  if (version === undefined || !/^\d+$/.test(version))
    return { state: "damaged", why: `vars.data_version is ${version ?? "missing"}, expected a whole number` };
  const nodeId = values.get("node_id");
  if (nodeId !== undefined && !/^0[23][0-9a-f]{64}$/.test(nodeId))
    return { state: "damaged", why: `vars.node_id is ${nodeId}, expected a public key` };
  return { state: "wallet", version: Number(version), nodeId };
}

/**
 * The versions of the main database of a running node: one short read-only query on the live file. Never for the replica, which has
 * no busy timeout and no locks across sshfs.
 * @returns undefined if it is locked for the moment or meets a hot journal, which a read-only connection leaves alone
 */
export async function readLive(path: string): Promise<{ version: number; nodeId: string | undefined } | undefined> {
  const lines = await sqlite(path, true, WALLET_QUERY).catch(() => undefined);
  if (lines === undefined) return undefined;
  const wallet = parseWallet(lines);
  return wallet.state === "wallet" ? wallet : undefined;
}

/** SQLite's own words (sqlite.org/rescode.html, sqlite3_errstr) for a malformed file, and for a place that fails under a file that may be right. */
const DAMAGED = /malformed|not a database|corrupt/i;
const FAILING = /disk I\/O error|database or disk is full|unable to open database|readonly database/i;

/**
 * What sqlite3 has found, from what it printed.
 * @returns undefined for everything else that can fail in running it
 */
export function readFailure(error: unknown): WalletFailed | undefined {
  if (!(error instanceof Error) || !("stderr" in error) || typeof error.stderr !== "string") return undefined;
  // A block that can't be read, in a file that is mapped into memory.
  if ("signal" in error && error.signal === "SIGBUS")
    return { state: "unreachable", why: "sqlite3 was ended by SIGBUS: a part of the file can't be read" };
  const lines = error.stderr.split("\n");
  const words = (kind: RegExp) => lines.find((text) => kind.test(text))?.replace(/^.*?:\s*/, "");
  const [damaged, failing] = [words(DAMAGED), words(FAILING)];
  if (damaged !== undefined) return { state: "damaged", why: damaged };
  return failing === undefined ? undefined : { state: "unreachable", why: `SQLite says: ${failing}` };
}

/** Applies the journals of a copy that nobody else has, and leaves one closed file in the given journal mode. */
export async function settleCopy(path: string, journalMode: JournalMode): Promise<void> {
  await sqlite(path, false, `PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = ${journalMode}`);
  for (const suffix of JOURNAL_SUFFIXES) {
    const journal = await stat(path + suffix).catch(ignoreAbsence);
    if (journal !== undefined && journal.size > 0)
      throw new Error(`${path}${suffix} was not applied: sqlite3 left ${journal.size} bytes in it`);
    await rm(path + suffix, { force: true });
  }
}

/**
 * Removes what a read that was killed on this host has left beside the file, as far as the volume can be written to: if it can't, the read
 * itself says so.
 */
export async function removeScratch(path: string): Promise<void> {
  const directory = dirname(path);
  for (const entry of await readdir(directory).catch(() => []))
    if (entry.startsWith(OF_THIS_HOST) && !isAtWork(entry))
      await rm(join(directory, entry), { recursive: true, force: true }).catch(() => {});
}

function isAtWork(scratch: string): boolean {
  const thisBoot = scratchPrefix("");
  return (
    scratch.startsWith(thisBoot) && existsSync(join("/proc", `${Number.parseInt(scratch.slice(thisBoot.length), 10)}`))
  );
}
