import { execFileSync } from "node:child_process";
import { closeSync, copyFileSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { readCopy } from "../../scripts/host/gate/copy.ts";
import { dataVersionIn, readLog, strangeJournal } from "../../scripts/host/gate/journal-of.ts";
import { NODE_ID } from "../fixtures/gate/observed.ts";

const NAME = "lightningd.sqlite3";

function scratch(t: Pick<ExecutionContext, "teardown">): string {
  const directory = mkdtempSync(join(tmpdir(), "twofold-journal-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A wallet whose columns are in the order of an old one: `val` was there before `intval` (Core Lightning, wallet/migrations.c). */
function makeWallet(path: string, mode: "wal" | "delete"): DatabaseSync {
  const database = new DatabaseSync(path);
  database.exec(`PRAGMA journal_mode = ${mode}; PRAGMA wal_autocheckpoint = 0`);
  database.exec("BEGIN; CREATE TABLE vars (name VARCHAR(32), val VARCHAR(255), PRIMARY KEY (name))");
  for (const column of ["intval INTEGER", "blobval BLOB", "textval TEXT"])
    database.exec(`ALTER TABLE vars ADD ${column}`);
  database.exec(`INSERT INTO vars (name, blobval) VALUES ('node_id', x'${NODE_ID}')`);
  database.exec("INSERT INTO vars (name, intval) VALUES ('data_version', 1)");
  database.exec("CREATE TABLE channels (id INTEGER PRIMARY KEY, state BLOB); COMMIT");
  return database;
}

/** One commit as lightningd makes it: something changes, and `data_version` with it. @param bytes of a new row; without it an old one changes */
function commit(database: DatabaseSync, bytes?: number): void {
  const version = "(SELECT intval FROM vars WHERE name = 'data_version')";
  database.exec("BEGIN");
  if (bytes !== undefined) database.exec(`INSERT INTO channels (state) VALUES (randomblob(${bytes}))`);
  else database.exec(`UPDATE channels SET state = randomblob(length(state)) WHERE id = 1 + ${version} % 20`);
  database.exec("UPDATE vars SET intval = intval + 1 WHERE name = 'data_version'; COMMIT");
}

function copyFiles(from: string, to: string, suffixes = ["", "-journal", "-wal"]): string {
  const path = join(to, NAME);
  for (const suffix of suffixes) if (existsSync(from + suffix)) copyFileSync(from + suffix, path + suffix);
  return path;
}

/** Yesterday's file, and today's with what a power cut leaves beside it. */
function yesterdayAndToday(t: ExecutionContext): { old: string; live: string; database: DatabaseSync } {
  const live = join(scratch(t), NAME);
  const database = makeWallet(live, "wal");
  t.teardown(() => database.close());
  for (let made = 0; made < 20; made++) commit(database, 1500);
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  const old = copyFiles(live, scratch(t), [""]);
  for (let made = 0; made < 20; made++) commit(database);
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  for (let made = 0; made < 3; made++) commit(database);
  return { old, live, database };
}

test("refuses an old database beneath a newer -wal, which every check of SQLite finds whole and new", async (t) => {
  const { old, live } = yesterdayAndToday(t);
  const place = scratch(t);
  const path = copyFiles(live, place);
  t.like(await readCopy(path, "full"), { state: "wallet", version: 44 });
  copyFileSync(old, path);
  const checked = copyFiles(path, scratch(t));
  const says = execFileSync("sqlite3", [
    checked,
    "PRAGMA integrity_check; SELECT intval FROM vars WHERE intval NOT NULL",
  ]);
  t.is(says.toString(), "ok\n44\n", "SQLite sees what is wrong, so this proves nothing");
  const copy = await readCopy(path, "quick");
  t.is(copy.state, "mixed", JSON.stringify(copy));
  t.regex("why" in copy ? copy.why : "", /the database alone has data_version 21, its -wal holds 42 to 44/);
});

test("an old database beneath a newer -wal is called that, also where the two together are malformed", async (t) => {
  const { old, live, database } = yesterdayAndToday(t);
  for (let made = 0; made < 20; made++) commit(database, 9000);
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  commit(database);
  const path = copyFiles(live, scratch(t));
  copyFileSync(old, path);
  t.like(await readCopy(path, "full"), { state: "mixed" });
});

test("refuses a newer database beneath an old -wal, which would take it back", async (t) => {
  const { live, database } = yesterdayAndToday(t);
  const place = scratch(t);
  const path = copyFiles(live, place);
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  for (let made = 0; made < 5; made++) commit(database);
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  copyFileSync(live, path);
  t.like(await readCopy(path, "quick"), { state: "mixed" });
});

test("refuses an old database beneath the hot -journal of a newer one", async (t) => {
  const live = join(scratch(t), NAME);
  const database = makeWallet(live, "delete");
  t.teardown(() => database.close());
  for (let made = 0; made < 5; made++) commit(database);
  const old = copyFiles(live, scratch(t));
  for (let made = 0; made < 5; made++) commit(database);
  database.exec("PRAGMA cache_size = 2; PRAGMA cache_spill = 2; BEGIN");
  database.exec("UPDATE vars SET intval = intval + 1 WHERE name = 'data_version'");
  for (let row = 0; row < 100; row++) database.exec("INSERT INTO channels (state) VALUES (randomblob(4000))");
  const path = copyFiles(live, scratch(t));
  database.exec("ROLLBACK");
  t.like(await readCopy(path, "quick"), { state: "wallet", version: 11 }, "the crash itself");
  copyFileSync(old, path);
  const copy = await readCopy(path, "quick");
  t.is(copy.state, "mixed", JSON.stringify(copy));
  t.regex("why" in copy ? copy.why : "", /alone has data_version 6, its -journal was made at 11/);
});

test("a copy of main over a far older replica, cut short before its checkpoint, is no other database's log", async (t) => {
  const { old, live } = yesterdayAndToday(t);
  const path = copyFiles(old, scratch(t), [""]);
  const words = ["PRAGMA wal_autocheckpoint = 0", ".dbconfig no_ckpt_on_close on", `.restore ${live}`];
  execFileSync("sqlite3", [path, ...words]);
  t.deepEqual(await readLog(`${path}-wal`), { first: 44, complete: true });
  t.like(await readCopy(path, "full"), { state: "wallet", version: 44 });
});

/** Brings the first pages of a log into its database, in their order, as a checkpoint that is cut short does. */
function checkpointPart(path: string, share: number): void {
  const log = readFileSync(`${path}-wal`);
  const latest = new Map<number, Buffer>();
  for (let at = 32; at + 4120 <= log.length; at += 4120) {
    if (!log.subarray(at + 8, at + 16).equals(log.subarray(16, 24))) break;
    latest.set(log.readUInt32BE(at), log.subarray(at + 24, at + 4120));
  }
  const pages = [...latest].sort(([a], [b]) => a - b);
  const file = openSync(path, "r+");
  for (const [page, bytes] of pages.slice(0, Math.round(pages.length * share)))
    writeSync(file, bytes, 0, bytes.length, (page - 1) * 4096);
  closeSync(file);
}

test("no crash is refused: whatever was committed and checkpointed, and wherever a checkpoint was cut short", async (t) => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: 1, max: 9000 }) },
    fc.constant("checkpoint" as const),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 25 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      async (steps, share) => {
        const made: (() => void)[] = [];
        const context = { teardown: (undo: () => void) => made.push(undo) };
        const live = join(scratch(context as never), NAME);
        const database = makeWallet(live, "wal");
        try {
          // A passive checkpoint leaves the log, and the next commit begins it anew over the old frames.
          for (const one of steps)
            if (one === "checkpoint") database.exec("PRAGMA wal_checkpoint(PASSIVE)");
            else commit(database, one);
          const path = copyFiles(live, scratch(context as never));
          checkpointPart(path, share);
          const version = 1 + steps.filter((one) => one !== "checkpoint").length;
          t.like(await readCopy(path, "quick"), { state: "wallet", version });
        } finally {
          database.close();
          for (const undo of made) undo();
        }
      },
    ),
    { numRuns: 40 },
  );
});

test("a log counts up to its first torn frame, as in SQLite's own recovery", async (t) => {
  const { live } = yesterdayAndToday(t);
  const path = copyFiles(live, scratch(t));
  const log = readFileSync(`${path}-wal`);
  t.like(await readLog(`${path}-wal`), { first: 42, complete: false });
  const file = openSync(`${path}-wal`, "r+");
  writeSync(file, Buffer.from([(log[32 + 24 + 100] ?? 0) ^ 0xff]), 0, 1, 32 + 24 + 100);
  closeSync(file);
  t.is(await readLog(`${path}-wal`), undefined);
  // Without a commit in the log the database alone is the state.
  t.like(await readCopy(path, "quick"), { state: "wallet", version: 41 });
});

test("versions of every size are found in a page, and none in a page of another kind", (t) => {
  const path = join(scratch(t), NAME);
  const database = makeWallet(path, "delete");
  const pages = () => {
    const bytes = readFileSync(path);
    return Array.from({ length: bytes.length / 4096 }, (_, page) => bytes.subarray(page * 4096, (page + 1) * 4096));
  };
  for (const version of [0, 1, 2, 127, 128, 40_000, 3_000_000, 2 ** 31, 2 ** 40, 2 ** 50]) {
    database.exec(`UPDATE vars SET intval = ${version} WHERE name = 'data_version'`);
    t.deepEqual(
      pages().flatMap((page) => dataVersionIn(page) ?? []),
      [version],
    );
  }
  database.close();
});

test("a database belongs to its log from before the first commit in it to the last", (t) => {
  const log = { first: 10, complete: false };
  for (const alone of [9, 10, 15]) t.is(strangeJournal({ alone, recovered: 15, log }), undefined);
  for (const alone of [1, 8, 16]) t.regex(strangeJournal({ alone, recovered: 15, log }) ?? "", /-wal holds 10 to 15/);
  t.is(strangeJournal({ alone: 1, recovered: 15, log: { ...log, complete: true } }), undefined);
  t.is(strangeJournal({ alone: undefined, recovered: 15, log }), undefined);
  for (const alone of [15, 16]) t.is(strangeJournal({ alone, recovered: 15, log: undefined }), undefined);
  t.regex(strangeJournal({ alone: 14, recovered: 15, log: undefined }) ?? "", /-journal was made at 15/);
});
