import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import test, { type ExecutionContext } from "ava";
import { copiesAside } from "../../scripts/host/gate/aside.ts";
import {
  checkNeeded,
  fingerprint,
  hasNoReflinks,
  parseWallet,
  readCopy,
  readFailure,
  removeScratch,
  walletFingerprint,
} from "../../scripts/host/gate/copy.ts";
import { peekReplica } from "../../scripts/host/gate/peek.ts";
import { NODE_ID } from "../fixtures/gate/observed.ts";
import { lightningdDocument } from "../fixtures/lightningd/document.ts";

function scratch(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), "twofold-copy-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function makeWallet(path: string, mode: "wal" | "delete", version: number): DatabaseSync {
  const database = new DatabaseSync(path);
  database.exec(`PRAGMA journal_mode = ${mode}`);
  database.exec("CREATE TABLE vars (name VARCHAR(32), intval INTEGER, blobval BLOB, textval TEXT)");
  database.exec(`INSERT INTO vars (name, intval) VALUES ('data_version', ${version})`);
  database.exec(`INSERT INTO vars (name, blobval) VALUES ('node_id', x'${NODE_ID}')`);
  return database;
}

const digest = (directory: string) =>
  Object.fromEntries(
    readdirSync(directory)
      .sort()
      .map((name) => [
        name,
        createHash("sha256")
          .update(readFileSync(join(directory, name)))
          .digest("hex"),
      ]),
  );

/** The files as a kill at this moment leaves them. */
function killedCopy(from: string, directory: string): string {
  const path = join(directory, "lightningd.sqlite3");
  for (const suffix of ["", "-journal", "-wal"])
    try {
      copyFileSync(from + suffix, path + suffix);
    } catch {
      // No such journal.
    }
  return path;
}

for (const mode of ["wal", "delete"] as const)
  test(`a closed wallet with journal mode ${mode} is read and left byte-identical`, async (t) => {
    const directory = scratch(t);
    const path = join(directory, "lightningd.sqlite3");
    makeWallet(path, mode, 41).close();
    const before = digest(directory);
    const copy = await readCopy(path, "full");
    t.like(copy, { state: "wallet", version: 41, nodeId: NODE_ID, journalMode: mode });
    t.deepEqual(digest(directory), before);
  });

test("a commit that is only in the -wal of a killed daemon counts, and the files stay byte-identical", async (t) => {
  const live = scratch(t);
  const database = makeWallet(join(live, "lightningd.sqlite3"), "wal", 1);
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  database.exec("UPDATE vars SET intval = 2 WHERE name = 'data_version'");
  const killed = scratch(t);
  const path = killedCopy(join(live, "lightningd.sqlite3"), killed);
  database.close();
  const before = digest(killed);
  t.true(Object.keys(before).includes("lightningd.sqlite3-wal"));
  t.like(await readCopy(path, "full"), { state: "wallet", version: 2, journalMode: "wal" });
  t.deepEqual(digest(killed), before);
});

test("a hot journal is rolled back in the copy only: the last durable commit counts", async (t) => {
  const live = scratch(t);
  const database = makeWallet(join(live, "lightningd.sqlite3"), "delete", 7);
  database.exec("CREATE TABLE filler (x); ");
  // A small cache makes SQLite write pages of an open transaction into the database, as a power cut in the middle finds them.
  database.exec(
    "PRAGMA cache_size = 2; PRAGMA cache_spill = 2; BEGIN; UPDATE vars SET intval = 8 WHERE name = 'data_version'",
  );
  for (let row = 0; row < 200; row++) database.exec("INSERT INTO filler VALUES (randomblob(4000))");
  const killed = scratch(t);
  const path = killedCopy(join(live, "lightningd.sqlite3"), killed);
  database.exec("ROLLBACK");
  database.close();
  const before = digest(killed);
  t.true(Object.keys(before).includes("lightningd.sqlite3-journal"));
  t.true(
    readFileSync(path).length > 100_000,
    "the open transaction has not reached the database, so this proves nothing",
  );
  t.like(await readCopy(path, "full"), { state: "wallet", version: 7, journalMode: "delete" });
  t.deepEqual(digest(killed), before);
});

test("fails on a truncated wallet", async (t) => {
  const path = join(scratch(t), "lightningd.sqlite3");
  makeWallet(path, "delete", 5).close();
  truncateSync(path, 4096);
  t.is((await readCopy(path, "full")).state, "damaged");
});

test("fails on a wallet with a damaged page that only a check finds", async (t) => {
  const path = join(scratch(t), "lightningd.sqlite3");
  const database = makeWallet(path, "delete", 5);
  database.exec("CREATE TABLE filler (x)");
  for (let row = 0; row < 50; row++) database.exec("INSERT INTO filler VALUES (randomblob(4000))");
  database.close();
  const bytes = readFileSync(path);
  bytes.fill(0x5a, 20 * 4096, 21 * 4096);
  writeFileSync(path, bytes);
  t.is((await readCopy(path, "none")).state, "wallet");
  t.is((await readCopy(path, "quick")).state, "damaged");
  t.is((await readCopy(path, "full")).state, "damaged");
});

test("fails on an index that misses a row, which only the full check finds", async (t) => {
  const path = join(scratch(t), "lightningd.sqlite3");
  const database = makeWallet(path, "delete", 5);
  database.exec("CREATE TABLE rows (x); CREATE INDEX by_x ON rows (x)");
  const schema = database.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'by_x'").get();
  database.exec("CREATE TABLE empty_index (x); CREATE INDEX by_nothing ON empty_index (x)");
  const empty = database.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'by_nothing'").get();
  database.exec("INSERT INTO rows VALUES (1)");
  database.close();
  const bytes = readFileSync(path);
  const page = (row: typeof schema) => (Number(row?.rootpage) - 1) * 4096;
  bytes.copyWithin(page(schema), page(empty), page(empty) + 4096);
  writeFileSync(path, bytes);
  t.is((await readCopy(path, "quick")).state, "wallet");
  t.is((await readCopy(path, "full")).state, "damaged");
});

test("a file that is no database is damaged, an empty one and one without a wallet are blank, a missing one is absent", async (t) => {
  const directory = scratch(t);
  const path = (name: string) => join(directory, name);
  writeFileSync(path("text"), "not a database".repeat(100));
  writeFileSync(path("empty"), "");
  execFileSync("sqlite3", [path("prepared"), "PRAGMA journal_mode = WAL"]);
  t.is((await readCopy(path("text"), "none")).state, "damaged");
  t.deepEqual(await readCopy(path("empty"), "none"), { state: "blank", path: path("empty"), journalMode: undefined });
  t.deepEqual(await readCopy(path("prepared"), "none"), { state: "blank", path: path("prepared"), journalMode: "wal" });
  t.is((await readCopy(path("missing"), "none")).state, "absent");
});

/** A volume of its own with a wallet on it, so that it can be made to fail. */
function volumeWithWallet(t: ExecutionContext): { mount: string; path: string } {
  const mount = scratch(t);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "twofold-test", mount]);
  t.teardown(() => execFileSync("umount", [mount]));
  const path = join(mount, "lightningd.sqlite3");
  makeWallet(path, "delete", 9).close();
  return { mount, path };
}

test("a wallet on a volume that became read-only is unreachable and not damaged, also beside what a killed read left", async (t) => {
  const { mount, path } = volumeWithWallet(t);
  // By process number 0, which no process has.
  const left = `.twofold-read-${hostname()}-${readFileSync("/proc/sys/kernel/random/boot_id", "latin1").slice(0, 8)}-0-left`;
  mkdirSync(join(mount, left));
  t.is((await readCopy(path, "none")).state, "wallet");
  execFileSync("mount", ["-o", "remount,ro", mount]);
  await removeScratch(path);
  t.like(await readCopy(path, "full"), { state: "unreachable" });
  execFileSync("mount", ["-o", "remount,rw", mount]);
  await removeScratch(path);
  t.deepEqual(readdirSync(mount), ["lightningd.sqlite3"]);
  t.like(await readCopy(path, "full"), { state: "wallet", version: 9 });
});

test("a wallet on a full volume is unreachable and not damaged", async (t) => {
  const { mount, path } = volumeWithWallet(t);
  const hot = Buffer.alloc(64 * 2 ** 10, 1);
  writeFileSync(`${path}-journal`, hot);
  t.throws(() => writeFileSync(join(mount, "filler"), Buffer.alloc(2 ** 20)), { code: "ENOSPC" });
  t.like(await readCopy(path, "none"), { state: "unreachable" });
});

/**
 * A wallet on a BTRFS with one copy of its data, of which blocks rot on the disk while it is not mounted.
 * @param rotten what is in the blocks
 */
function rottenWallet(t: ExecutionContext, rotten: string): string {
  const directory = scratch(t);
  const [image, mount] = [join(directory, "disk.img"), join(directory, "mount")];
  mkdirSync(mount);
  writeFileSync(image, "");
  truncateSync(image, 256 * 2 ** 20);
  execFileSync("mkfs.btrfs", ["--quiet", "--data", "single", image]);
  const path = join(mount, "lightningd.sqlite3");
  execFileSync("mount", ["-o", "loop", image, mount]);
  try {
    const database = makeWallet(path, "delete", 9);
    database.exec("CREATE TABLE filler (x)");
    for (let row = 0; row < 200; row++)
      database.exec(`INSERT INTO filler VALUES ('${`rotten-row ${row} `.repeat(250)}')`);
    database.close();
  } finally {
    execFileSync("umount", [mount]);
  }
  const bytes = readFileSync(image);
  let turned = 0;
  for (let at = bytes.indexOf(rotten); at >= 0; at = bytes.indexOf(rotten, at + 1), turned++)
    bytes[at] = (bytes[at] ?? 0) ^ 0xff;
  t.true(turned > 0, `${rotten} is nowhere on the disk`);
  writeFileSync(image, bytes);
  execFileSync("mount", ["-o", "loop", image, mount]);
  t.teardown(() => execFileSync("umount", [mount]));
  return path;
}

test("a file whose blocks are rotten can't be read, which is another thing than a place that is not there", async (t) => {
  const inTheMiddle = rottenWallet(t, "rotten-row 150 ");
  // Mapped into memory a block that can't be read is no error but SIGBUS.
  for (const check of ["quick", "full"] as const)
    t.like(await readCopy(inTheMiddle, check), { state: "unreadable" }, check);
  const versions = rottenWallet(t, "data_version");
  t.like(await readCopy(versions, "none"), { state: "unreadable" });
  t.like((await peekReplica(versions, { check: "full" })).copy, { state: "unreadable" });
  t.like(await readCopy(rottenWallet(t, "SQLite format 3"), "none"), { state: "unreadable" }, "its first page");
});

test("what SQLite says of a failing place is no damage of the wallet", (t) => {
  const failed = (stderr: string) => readFailure(Object.assign(new Error("sqlite3 failed"), { stderr }));
  for (const words of ["disk I/O error", "database or disk is full", "attempt to write a readonly database"])
    t.is(failed(`Error: stepping, ${words} (10)\n`)?.state, "unreachable", words);
  for (const words of ["database disk image is malformed", "file is not a database"])
    t.is(failed(`Error: in prepare, ${words} (11)\n`)?.state, "damaged", words);
  t.is(failed("Error: unknown option\n"), undefined);
});

test("a wallet as its clean stop left it is not checked, one changed since page by page, one that came from elsewhere wholly", async (t) => {
  const path = join(scratch(t), "lightningd.sqlite3");
  makeWallet(path, "delete", 5).close();
  const closed = await fingerprint(path);
  t.is(checkNeeded(closed, await walletFingerprint(path)), "none");
  t.is(checkNeeded(undefined, await walletFingerprint(path)), "full");
  // In WAL mode a killed daemon's commits may all be in the -wal, with the database untouched.
  writeFileSync(`${path}-wal`, "x");
  t.is(checkNeeded(closed, await walletFingerprint(path)), "full", "a small one is checked in a moment");
  const large = async () => {
    const found = await walletFingerprint(path);
    return { ...found, database: found.database && { ...found.database, bytes: `${2 ** 30}` } };
  };
  t.is(checkNeeded(closed, await large()), "quick");
  rmSync(`${path}-wal`);
  const database = new DatabaseSync(path);
  database.exec("UPDATE vars SET intval = 6 WHERE name = 'data_version'");
  database.close();
  t.is(checkNeeded(closed, await walletFingerprint(path)), "full");
  t.is(checkNeeded(closed, await large()), "quick");
  copyFileSync(path, `${path}.other`);
  renameSync(`${path}.other`, path);
  t.is(checkNeeded(closed, await walletFingerprint(path)), "full");
});

test("a peek returns versions and fingerprint of a replica while it is written to", async (t) => {
  const path = join(scratch(t), "lightningd.sqlite3");
  const database = makeWallet(path, "wal", 9);
  t.teardown(() => database.close());
  const peek = await peekReplica(path, { check: "full" });
  t.like(peek.copy, { state: "wallet", version: 9 });
  t.deepEqual(peek.fingerprint, await fingerprint(path));
});

test("copies that were put aside beside main and replica are found with their versions, the live files are not among them", async (t) => {
  const [main, replica] = [join(scratch(t), "lightningd.sqlite3"), join(scratch(t), "lightningd.sqlite3")];
  for (const path of [main, replica]) makeWallet(path, "wal", 100).close();
  mkdirSync(`${main}.replaced-2026-11-23`);
  const kept = join(`${main}.replaced-2026-11-23`, "lightningd.sqlite3");
  makeWallet(kept, "wal", 104).close();
  makeWallet(`${replica}.older`, "wal", 7).close();
  writeFileSync(`${replica}.older-wal`, "no log");
  writeFileSync(`${main}.txt`, "no wallet");
  const wallet = { ...lightningdDocument().wallet, main, replica: { path: replica, peek: { kind: "local" as const } } };
  t.deepEqual(await copiesAside({ ...lightningdDocument(), wallet }), [
    { path: kept, version: 104 },
    { path: `${replica}.older`, version: 7 },
  ]);
});

test("a peek removes what a killed one left, and nothing that another process or host is at work in", async (t) => {
  const directory = scratch(t);
  const path = join(directory, "lightningd.sqlite3");
  makeWallet(path, "wal", 9).close();
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").slice(0, 8);
  const [killed, rebooted] = [`${hostname()}-${boot}-0-killed`, `${hostname()}-00000000-${process.pid}-before`];
  const others = [`${hostname()}-${boot}-${process.pid}-working`, `vault-of-another-${boot}-0-working`];
  for (const name of [killed, rebooted, ...others]) mkdirSync(join(directory, `.twofold-read-${name}`));
  await peekReplica(path, {});
  t.deepEqual(
    readdirSync(directory)
      .filter((name) => name.startsWith(".twofold-read-"))
      .sort(),
    others.map((name) => `.twofold-read-${name}`).sort(),
  );
});

test("a place that fails is not read by a second name for the very file, as a filesystem without reflinks is", (t) => {
  const failed = (code: string) => hasNoReflinks(Object.assign(new Error(code), { code }));
  for (const code of ["ENOTSUP", "EXDEV", "EINVAL", "ENOTTY"]) t.true(failed(code), code);
  for (const code of ["ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES"]) t.false(failed(code), code);
  t.false(hasNoReflinks(new Error("no errno")));
});

test("fails on values of vars that are no version and no node id", (t) => {
  t.is(parseWallet([]).state, "damaged");
  t.is(parseWallet(["data_version=x"]).state, "damaged");
  t.is(parseWallet(["data_version=3", "node_id=00"]).state, "damaged");
  t.deepEqual(parseWallet(["data_version=3"]), { state: "wallet", version: 3, nodeId: undefined });
});
