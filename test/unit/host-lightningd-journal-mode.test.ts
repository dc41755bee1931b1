import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import test from "ava";
import { readJournalMode, SQLITE_HEADER_BYTES } from "../../scripts/host/lightningd/journal-mode.ts";

/** The header of a database that SQLite itself made in this mode. */
function headerOf(mode: string): Buffer {
  const directory = mkdtempSync(join(tmpdir(), "twofold-mode-"));
  try {
    const database = new DatabaseSync(join(directory, "db"));
    database.exec(`PRAGMA journal_mode=${mode}; CREATE TABLE t (x); INSERT INTO t VALUES (1);`);
    database.close();
    return readFileSync(join(directory, "db")).subarray(0, SQLITE_HEADER_BYTES);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test("the mode of a file that SQLite made is read from its header", (t) => {
  t.is(readJournalMode(headerOf("wal")), "wal");
  t.is(readJournalMode(headerOf("delete")), "delete");
});

test("a rollback journal that is truncated or kept is no other file format", (t) => {
  t.is(readJournalMode(headerOf("persist")), "delete");
});

test("a file without content is empty, not of a mode", (t) => {
  t.is(readJournalMode(Buffer.alloc(0)), "empty");
});

test("what is no SQLite file, or one of a version to come, is foreign", (t) => {
  t.is(readJournalMode(Buffer.alloc(SQLITE_HEADER_BYTES)), "foreign");
  t.is(readJournalMode(headerOf("wal").subarray(0, 20)), "foreign");
  const later = Buffer.from(headerOf("wal"));
  later[18] = 3;
  t.is(readJournalMode(later), "foreign");
});
