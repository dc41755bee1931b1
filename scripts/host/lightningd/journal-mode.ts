/** The journal mode of an SQLite file, read from its header without SQLite. */
import type { JournalMode } from "../contract.ts";

/** Bytes of a file's beginning that {@link readJournalMode} needs. */
export const SQLITE_HEADER_BYTES = 100;

const MAGIC = Buffer.from("SQLite format 3\0", "latin1");

/**
 * The mode that the file's next writer will use. "empty" is a file without content: SQLite takes it for a new database.
 * Bytes 18 and 19 are the versions for writing and reading: 1 is a rollback journal, 2 is WAL
 * (sqlite.org/fileformat.html, "File format version numbers"); anything else is "foreign".
 */
export function readJournalMode(header: Uint8Array): JournalMode | "empty" | "foreign" {
  if (header.length === 0) return "empty";
  if (header.length < SQLITE_HEADER_BYTES || !MAGIC.equals(header.subarray(0, MAGIC.length))) return "foreign";
  const [write, read] = [header[18], header[19]];
  if (write === 2 && read === 2) return "wal";
  if (write === 1 && read === 1) return "delete";
  return "foreign";
}
