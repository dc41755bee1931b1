import { createHash } from "node:crypto";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import test, { type ExecutionContext } from "ava";
import { readCopy } from "../../scripts/host/gate/copy.ts";
import type { Observed } from "../../scripts/host/gate/observed.ts";
import { requireReason } from "../../scripts/host/recovery/arguments.ts";
import {
  type Accepted,
  mayRebuildWitness,
  mayReplaceMark,
  mayRestoreReplica,
  mayResyncReplica,
  nobodyElseReaches,
} from "../../scripts/host/recovery/decide.ts";
import { parseDuration } from "../../scripts/host/recovery/degraded.ts";
import { copyWallet } from "../../scripts/host/recovery/files.ts";
import { requireRoom } from "../../scripts/host/recovery/room.ts";
import type { StoredMark } from "../../scripts/host/witness/store.ts";
import {
  absent,
  blank,
  damaged,
  mark,
  mixed,
  NODE_ID,
  NOW,
  noSecret,
  OTHER_ID,
  observed,
  secret,
  unreachable,
  unreadable,
  wallet,
} from "../fixtures/gate/observed.ts";

const NOTHING: Accepted = { replaceNodes: [] };
const lowerTo = (version: number): Accepted => ({ lowerTo: version, replaceNodes: [] });
const replaceNode = (...replaceNodes: string[]): Accepted => ({ replaceNodes });
const silent = { host: "third", state: "unreachable", why: "no answer" } as const;

test("a replica that is newer than main, or whose main is gone or damaged, may take its place", (t) => {
  t.is(mayRestoreReplica(observed({ replica: wallet(101) })).version, 101);
  t.is(mayRestoreReplica(observed({ main: absent })).version, 100);
  for (const main of [damaged, mixed, unreadable]) t.is(mayRestoreReplica(observed({ main })).version, 100);
  t.is(mayRestoreReplica(observed({ main: wallet(200, { nodeId: OTHER_ID }) })).version, 100);
});

const RESTORE: [string, Partial<Observed>, RegExp][] = [
  ["over a main that is as new", {}, /RESTORE-MAIN-NOT-OLDER/],
  ["over a main that is newer", { replica: wallet(99) }, /RESTORE-MAIN-NOT-OLDER/],
  ["from a replica that is gone", { replica: absent }, /RESTORE-NO-REPLICA/],
  ["from a damaged replica", { main: absent, replica: damaged }, /RESTORE-NO-REPLICA/],
  ["from a replica beside another database's journal", { main: absent, replica: mixed }, /RESTORE-NO-REPLICA/],
  ["from a replica that can't be read", { main: absent, replica: unreadable }, /RESTORE-NO-REPLICA/],
  ["from another node's replica", { main: absent, replica: wallet(100, { nodeId: OTHER_ID }) }, /RESTORE-OTHER-NODE/],
  ["from a replica that the witness is ahead of", { main: absent, witnesses: [mark(101)] }, /RESTORE-ROLLED-BACK/],
  ["while a witness is silent", { main: absent, witnesses: [mark(99), silent] }, /RESTORE-WITNESS-SILENT/],
  ["while main can't be seen", { main: unreachable }, /RESTORE-MAIN-UNREACHABLE/],
  ["while lightningd runs", { main: absent, others: [{ pid: 7, what: "is a lightningd" }] }, /NODE-NOT-STOPPED/],
];
for (const [title, seen, message] of RESTORE)
  test(`refuses to restore the replica ${title}`, (t) => {
    t.throws(() => mayRestoreReplica(observed(seen)), { message });
  });

const withoutWitness = (since: string, until: string) => ({
  subject: "witness" as const,
  reason: "third burned down",
  since,
  until,
});

test("a witness that is dead keeps no replica from being restored once an operator has said so, and the others' marks count", (t) => {
  const degraded = withoutWitness(NOW, "2026-11-24T00:00:00.000Z");
  const seen = observed({ main: absent, witnesses: [mark(100), silent], degraded });
  t.is(mayRestoreReplica(seen).version, 100);
  t.throws(() => mayRestoreReplica({ ...seen, degraded: undefined }), {
    message: /RESTORE-WITNESS-SILENT.*degrade witness.*vault \(100\)/s,
  });
  t.throws(() => mayRestoreReplica({ ...seen, witnesses: [mark(101), silent] }), { message: /RESTORE-ROLLED-BACK/ });
  t.throws(() => mayRestoreReplica({ ...seen, witnesses: [silent] }), { message: /RESTORE-WITNESS-SILENT/ });
  t.throws(() => mayRestoreReplica({ ...seen, degraded: withoutWitness("2026-11-22T00:00:00.000Z", NOW) }), {
    message: /RESTORE-WITNESS-SILENT/,
  });
});

test("refuses to restore a replica to which somebody else is logged in", (t) => {
  t.throws(() => nobodyElseReaches("vault", 2), { message: /RESTORE-REPLICA-IN-USE.*vault.*2 SFTP sessions/s });
  for (const sessions of [0, 1]) t.notThrows(() => nobodyElseReaches("vault", sessions));
});

test("main may be copied over a replica that is missing, damaged, older or another node's", (t) => {
  for (const replica of [absent, damaged, mixed, unreadable, wallet(5), wallet(500, { nodeId: OTHER_ID })])
    t.is(mayResyncReplica(observed({ replica })).version, 100);
});

const RESYNC: [string, Partial<Observed>, RegExp][] = [
  ["over a newer replica", { replica: wallet(101) }, /RESYNC-REPLICA-NEWER/],
  ["when the witness is ahead of main", { witnesses: [mark(101)] }, /RESYNC-MAIN-NOT-RIGHT.*ROLLED_BACK/],
  ["from a missing main", { main: absent }, /RESYNC-MAIN-NOT-RIGHT.*MAIN_MISSING/],
  ["from a main beside another database's journal", { main: mixed }, /RESYNC-MAIN-NOT-RIGHT.*JOURNAL_STRANGE/],
  ["from a main that can't be read", { main: unreadable }, /RESYNC-MAIN-NOT-RIGHT.*MAIN_UNREADABLE/],
  ["from a damaged main", { main: damaged }, /RESYNC-MAIN-NOT-RIGHT.*MAIN_DAMAGED/],
  ["to a place that can't be seen", { replica: unreachable }, /RESYNC-REPLICA-UNREACHABLE/],
  ["without a declared replica", { replica: undefined }, /RESYNC-NO-REPLICA/],
  ["without a witness", { witnesses: [{ host: "vault", state: "missing" }] }, /RESYNC-MAIN-NOT-RIGHT.*WITNESS_MISSING/],
];
for (const [title, seen, message] of RESYNC)
  test(`refuses to write the replica anew ${title}`, (t) => {
    t.throws(() => mayResyncReplica(observed(seen)), { message });
  });

test("a lost witness is made from main, and a wallet that was brought here is taken on", (t) => {
  const lost = observed({ witnesses: [{ host: "vault", state: "missing" }], identity: undefined });
  t.deepEqual(mayRebuildWitness(lost, NOTHING), { nodeId: NODE_ID, dataVersion: 100, before: [] });
});

test("a mark goes down only to the version that the operator has named", (t) => {
  const ahead = observed({ witnesses: [mark(105)] });
  t.throws(() => mayRebuildWitness(ahead, NOTHING), { message: /REBUILD-LOWERS.*--lower-to 100/s });
  t.throws(() => mayRebuildWitness(ahead, lowerTo(99)), { message: /REBUILD-LOWERS/ });
  t.is(mayRebuildWitness(ahead, lowerTo(100)).dataVersion, 100);
});

test("a witness that is silent may have seen more: the mark is made only at the version that the operator has named", (t) => {
  const seen = observed({ witnesses: [mark(100), silent] });
  t.throws(() => mayRebuildWitness(seen, NOTHING), { message: /REBUILD-WITNESS-SILENT.*third.*--lower-to 100/s });
  t.throws(() => mayRebuildWitness(seen, lowerTo(99)), { message: /REBUILD-WITNESS-SILENT/ });
  t.is(mayRebuildWitness(seen, lowerTo(100)).dataVersion, 100);
});

test("a mark on another host goes down only to the version that the operator has named", (t) => {
  const stored = (version: number) => mark(version) as StoredMark;
  const next = (mark(100) as Extract<StoredMark, { state: "mark" }>).mark;
  t.throws(() => mayReplaceMark(stored(101), next, "vault", NOTHING), {
    message: /WITNESS-REPLACE-LOWERS.*101.*--lower-to 100/s,
  });
  t.throws(() => mayReplaceMark(stored(101), next, "vault", lowerTo(101)), { message: /WITNESS-REPLACE-LOWERS/ });
  t.notThrows(() => mayReplaceMark(stored(101), next, "vault", lowerTo(100)));
  for (const before of [stored(100), stored(5), { state: "missing" }, { state: "damaged", why: "no JSON" }])
    t.notThrows(() => mayReplaceMark(before as StoredMark, next, "vault", NOTHING));
});

test("a mark of another node is replaced only if the operator has named that node", (t) => {
  const other = mark(5, "vault", OTHER_ID);
  const next = (mark(100) as Extract<StoredMark, { state: "mark" }>).mark;
  t.throws(() => mayReplaceMark(other as StoredMark, next, "vault", lowerTo(100)), {
    message: new RegExp(`REBUILD-MARK-OTHER-NODE.*--replace-node ${OTHER_ID}`, "s"),
  });
  t.notThrows(() => mayReplaceMark(other as StoredMark, next, "vault", replaceNode(OTHER_ID)));
  const seen = observed({ witnesses: [mark(100, "alice"), other] });
  t.throws(() => mayRebuildWitness(seen, lowerTo(100)), { message: /REBUILD-MARK-OTHER-NODE.*vault/s });
  t.throws(() => mayRebuildWitness(seen, replaceNode(NODE_ID)), { message: /REBUILD-MARK-OTHER-NODE/ });
  t.is(mayRebuildWitness(seen, replaceNode(OTHER_ID)).dataVersion, 100);
});

test("a replica that is missing or empty may have held more: the mark is made only at the version that was named", (t) => {
  for (const replica of [absent, blank()]) {
    const seen = observed({ replica, witnesses: [] });
    t.throws(() => mayRebuildWitness(seen, NOTHING), { message: /REBUILD-REPLICA-MISSING.*--lower-to 100/s });
    t.throws(() => mayRebuildWitness(seen, lowerTo(99)), { message: /REBUILD-REPLICA-MISSING/ });
    t.is(mayRebuildWitness(seen, lowerTo(100)).dataVersion, 100);
  }
  t.is(mayRebuildWitness(observed({ replica: undefined, witnesses: [] }), NOTHING).dataVersion, 100);
});

const REBUILD: [string, Partial<Observed>, RegExp][] = [
  ["from an older main", { replica: wallet(101) }, /REBUILD-REPLICA-NEWER/],
  ["with a replica that can't be read", { replica: unreadable }, /REBUILD-REPLICA/],
  ["with a replica that can't be compared", { replica: unreachable }, /REBUILD-REPLICA/],
  ["beside a replica with another database's journal", { replica: mixed }, /REBUILD-REPLICA/],
  ["from no main", { main: absent }, /REBUILD-NO-MAIN/],
  ["from a main beside another database's journal", { main: mixed }, /REBUILD-NO-MAIN/],
  [
    "from another node's main, though it comes with its own hsm_secret",
    { main: wallet(100, { nodeId: OTHER_ID }), replica: undefined, secret: secret({ nodeId: OTHER_ID }) },
    /REBUILD-OTHER-NODE/,
  ],
  ["with another node's hsm_secret", { secret: secret({ nodeId: OTHER_ID }) }, /REBUILD-SECRET/],
  ["without hsm_secret", { secret: noSecret }, /REBUILD-SECRET/],
  [
    "with an hsm_secret that can't be read",
    { secret: { state: "unreachable", path: "/s", why: "EIO" } },
    /REBUILD-SECRET.*EIO/s,
  ],
];
for (const [title, seen, message] of REBUILD)
  test(`refuses to rebuild the witness ${title}`, (t) => {
    t.throws(() => mayRebuildWitness(observed({ witnesses: [], ...seen }), NOTHING), { message });
  });

function scratch(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), "twofold-recovery-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function makeWallet(path: string, version: number, mode = "wal"): DatabaseSync {
  const database = new DatabaseSync(path);
  database.exec(`PRAGMA journal_mode = ${mode}; CREATE TABLE vars (name, intval, blobval)`);
  database.exec(`INSERT INTO vars VALUES ('data_version', ${version}, NULL), ('node_id', NULL, x'${NODE_ID}')`);
  return database;
}

const sum = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");

test("a wallet is copied with what its journal holds, and the replaced files are kept aside together", async (t) => {
  const [source, target] = [join(scratch(t), "lightningd.sqlite3"), join(scratch(t), "lightningd.sqlite3")];
  const open = makeWallet(source, 9);
  t.teardown(() => open.close());
  t.true(existsSync(`${source}-wal`), "all is in the database already, so this proves nothing");
  makeWallet(target, 4, "delete").close();
  writeFileSync(`${target}-journal`, "the journal of the replaced wallet");
  const former = sum(target);
  const before = [sum(source), sum(`${source}-wal`)];

  const copied = await copyWallet(source, target, { version: 9, nodeId: NODE_ID, journalMode: "wal" });

  t.deepEqual([sum(source), sum(`${source}-wal`)], before);
  t.like(await readCopy(target, "full"), { state: "wallet", version: 9, journalMode: "wal" });
  t.is(copied.digest, sum(target));
  t.false(existsSync(`${target}-journal`), "a stale journal would be played into the new wallet");
  const aside = copied.aside ?? "";
  t.deepEqual(readdirSync(aside).sort(), ["lightningd.sqlite3", "lightningd.sqlite3-journal"]);
  t.is(sum(join(aside, "lightningd.sqlite3")), former);
});

test("fails on a source that is not what was seen, and replaces nothing", async (t) => {
  const [source, target] = [join(scratch(t), "lightningd.sqlite3"), join(scratch(t), "lightningd.sqlite3")];
  makeWallet(source, 9).close();
  makeWallet(target, 4).close();
  const former = sum(target);
  await t.throwsAsync(copyWallet(source, target, { version: 10, nodeId: NODE_ID, journalMode: "wal" }), {
    message: /nothing was replaced/,
  });
  t.is(sum(target), former);
});

test("fails to put a copy in its place, and leaves no part of it behind that fills the volume", async (t) => {
  const [source, place] = [join(scratch(t), "lightningd.sqlite3"), scratch(t)];
  makeWallet(source, 9).close();
  const target = join(place, "lightningd.sqlite3");
  await t.throwsAsync(copyWallet(source, target, { version: 10, nodeId: NODE_ID, journalMode: "wal" }));
  t.deepEqual(readdirSync(place), []);
});

test("refuses a copy that has no room, counting what an interrupted one left", async (t) => {
  const [source, target] = [join(scratch(t), "lightningd.sqlite3"), join(scratch(t), "lightningd.sqlite3")];
  const { bavail, bsize } = statfsSync(tmpdir());
  writeFileSync(source, "");
  truncateSync(source, bavail * bsize + 2 ** 30);
  await t.throwsAsync(requireRoom(source, target), { message: /RECOVERY-NO-ROOM.*MiB are free there.*replaced-/s });
  truncateSync(source, bavail * bsize + 2 ** 29);
  const left = join(dirname(target), ".lightningd.sqlite3.twofold-part");
  await t.throwsAsync(requireRoom(source, target), { message: /RECOVERY-NO-ROOM/ });
  writeFileSync(left, "");
  truncateSync(left, 2 ** 30);
  await t.notThrowsAsync(requireRoom(source, target));
});

test("the time of degraded mode is a number with a unit, up to a week", (t) => {
  t.is(parseDuration("24h"), 86_400_000);
  t.is(parseDuration("90m"), 5_400_000);
  t.is(parseDuration("7d"), 604_800_000);
});
for (const text of ["", "24", "0h", "8d", "-1h", "1.5h", "forever", "24h "])
  test(`refuses '${text}' as the time of degraded mode`, (t) => {
    t.throws(() => parseDuration(text), { message: /DEGRADE-DURATION/ });
  });

test("refuses a repair without a reason that says something", (t) => {
  for (const reason of [undefined, "", "because", "two\nlines of it"])
    t.throws(() => requireReason(reason), { message: /REASON-MISSING/ });
  t.is(requireReason(" vault burned down "), "vault burned down");
});
