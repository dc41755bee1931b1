import test from "ava";
import fc from "fast-check";
import { decide } from "../../scripts/host/gate/decide.ts";
import type { CopyState, Observed } from "../../scripts/host/gate/observed.ts";
import { describeDecision } from "../../scripts/host/gate/report.ts";
import {
  absent,
  blank,
  damaged,
  mark,
  mixed,
  NODE_ID,
  NOW,
  noSecret,
  nothing,
  OTHER_ID,
  observed,
  permission,
  secret,
  unreachable,
  unreadable,
  wallet,
} from "../fixtures/gate/observed.ts";

/** A file without a byte, which has no journal mode yet. */
const empty: CopyState = { ...absent, state: "blank", journalMode: undefined };

/** Title, what is seen, verdict, code: the table of what decides between a backup and a loss. */
const ROWS: [string, Observed, string, string][] = [
  ["starts when both copies agree and the witness is behind", observed(), "start", "COPIES_AGREE"],
  ["starts when the witness is exactly at main", observed({ witnesses: [mark(100)] }), "start", "COPIES_AGREE"],
  ["starts when the replica is one commit behind", observed({ replica: wallet(99) }), "start", "REPLICA_BEHIND"],
  [
    "starts when the replica is far behind, and says that it is copied anew",
    observed({ replica: wallet(7) }),
    "start",
    "REPLICA_ANEW",
  ],
  ["starts without a replica if none is declared", observed({ replica: undefined }), "start", "COPIES_AGREE"],
  [
    "starts when one witness has no mark yet and another has",
    observed({ witnesses: [mark(99, "alice"), { host: "vault", state: "missing" }] }),
    "start",
    "COPIES_AGREE",
  ],
  [
    "starts with an hsm_secret under a passphrase, and says that it was not compared",
    observed({
      secret: secret({ kind: "mnemonic-with-passphrase", nodeId: undefined, why: "it is protected by a passphrase" }),
    }),
    "start",
    "COPIES_AGREE",
  ],
  [
    "refuses when the replica is newer: main lost acknowledged commits",
    observed({ replica: wallet(101) }),
    "refuse",
    "REPLICA_NEWER",
  ],
  [
    "refuses a newer replica even if the witness is silent",
    observed({ replica: wallet(101), witnesses: [{ host: "vault", state: "unreachable", why: "no answer" }] }),
    "refuse",
    "REPLICA_NEWER",
  ],
  ["refuses when the witness is ahead of both copies", observed({ witnesses: [mark(101)] }), "refuse", "ROLLED_BACK"],
  [
    "refuses when one of two witnesses is ahead",
    observed({ witnesses: [mark(50), mark(101, "third")] }),
    "refuse",
    "ROLLED_BACK",
  ],
  [
    "refuses when a witness is ahead and another one is silent",
    observed({ witnesses: [mark(101), { host: "third", state: "unreachable", why: "no answer" }] }),
    "refuse",
    "ROLLED_BACK",
  ],
  ["refuses when main is missing and the replica is there", observed({ main: absent }), "refuse", "MAIN_MISSING"],
  ["refuses when main is empty and the replica is there", observed({ main: empty }), "refuse", "MAIN_MISSING"],
  [
    "refuses when main is missing and only the witness knows the node",
    nothing({ witnesses: [mark(3)] }),
    "refuse",
    "MAIN_MISSING",
  ],
  ["refuses when main is missing and only hsm_secret is left", nothing({ secret: secret() }), "refuse", "MAIN_MISSING"],
  [
    "refuses when main and witness are gone and the replica is left",
    nothing({ replica: wallet(5), permission }),
    "refuse",
    "MAIN_MISSING",
  ],
  ["refuses when all is missing and nobody permitted a first start", nothing(), "refuse", "NO_FIRST_START_PERMISSION"],
  [
    "refuses when the permission has expired",
    nothing({ permission: { ...permission, since: "2026-11-22T12:00:00.000Z", expires: NOW } }),
    "refuse",
    "NO_FIRST_START_PERMISSION",
  ],
  [
    "refuses when the permission is of a time that is yet to come, as after a clock was reset",
    nothing({ permission: { ...permission, since: "2026-11-23T12:00:01.000Z" } }),
    "refuse",
    "NO_FIRST_START_PERMISSION",
  ],
  [
    "waits for the replica in a permitted first start",
    nothing({ permission, main: blank(), replica: unreachable }),
    "wait",
    "REPLICA_UNREACHABLE",
  ],
  [
    "refuses when the permission is another node's",
    nothing({ permission: { ...permission, node: "bob" } }),
    "refuse",
    "NO_FIRST_START_PERMISSION",
  ],
  [
    "refuses a permitted first start while a witness knows the node",
    nothing({ permission, witnesses: [mark(3)] }),
    "refuse",
    "MAIN_MISSING",
  ],
  [
    "refuses a permitted first start whose database is not prepared",
    nothing({ permission }),
    "refuse",
    "MAIN_NOT_PREPARED",
  ],
  [
    "refuses a permitted first start whose database has another journal mode",
    nothing({ permission, main: blank("delete") }),
    "refuse",
    "JOURNAL_MODE",
  ],
  ["starts a permitted first start", nothing({ permission, main: blank() }), "start", "FIRST_START"],
  [
    "starts a permitted first start without a prepared file under a rollback journal",
    nothing({ permission, journalMode: "delete" }),
    "start",
    "FIRST_START",
  ],
  [
    "starts again a first start that was cut short before the wallet had a node",
    nothing({ permission, secret: secret(), main: wallet(0, { nodeId: undefined }), replica: blank() }),
    "start",
    "FIRST_START",
  ],
  [
    "starts again a first start that was cut short after the wallet had a node",
    nothing({ permission, secret: secret(), main: wallet(4), replica: wallet(3) }),
    "start",
    "FIRST_START",
  ],
  [
    "refuses a first start with a claimed wallet and no hsm_secret",
    nothing({ permission, main: wallet(4), replica: wallet(3) }),
    "refuse",
    "SECRET_MISSING",
  ],
  ["waits for the replica", observed({ replica: unreachable }), "wait", "REPLICA_UNREACHABLE"],
  ["waits for a mount", observed({ unmounted: ["/srv/lightning"] }), "wait", "NOT_MOUNTED"],
  ["waits for a main that can't be read", observed({ main: unreadable }), "wait", "MAIN_UNREADABLE"],
  ["waits for a replica that can't be read", observed({ replica: unreadable }), "wait", "REPLICA_UNREADABLE"],
  ["waits for main's place", observed({ main: unreachable }), "wait", "MAIN_UNREACHABLE"],
  [
    "waits for a witness that does not answer",
    observed({ witnesses: [mark(99), { host: "third", state: "unreachable", why: "no answer" }] }),
    "wait",
    "WITNESS_UNREACHABLE",
  ],
  [
    "waits while another process has the wallet",
    observed({ others: [{ pid: 7, what: "is a lightningd" }] }),
    "wait",
    "IN_USE",
  ],
  [
    "waits for room for the copy",
    observed({ replica: wallet(7), replicaFreeBytes: 2 ** 20 }),
    "wait",
    "REPLICA_NO_SPACE",
  ],
  [
    "waits for room where the replica can't even be read for want of it",
    observed({ replica: unreachable, replicaFreeBytes: 4096 }),
    "wait",
    "REPLICA_NO_SPACE",
  ],
  ["refuses when the replica is missing in its place", observed({ replica: absent }), "refuse", "REPLICA_MISSING"],
  ["refuses when the replica is empty", observed({ replica: empty }), "refuse", "REPLICA_MISSING"],
  ["refuses a damaged replica", observed({ replica: damaged }), "refuse", "REPLICA_DAMAGED"],
  [
    "refuses a replica of another node",
    observed({ replica: wallet(50, { nodeId: OTHER_ID }) }),
    "refuse",
    "REPLICA_OTHER_NODE",
  ],
  [
    "refuses a replica in another journal mode",
    observed({ replica: wallet(100, { journalMode: "delete" }) }),
    "refuse",
    "JOURNAL_MODE",
  ],
  [
    "refuses main in another journal mode",
    observed({ main: wallet(100, { journalMode: "delete" }) }),
    "refuse",
    "JOURNAL_MODE",
  ],
  [
    "refuses when no witness is left",
    observed({ witnesses: [{ host: "vault", state: "missing" }] }),
    "refuse",
    "WITNESS_MISSING",
  ],
  [
    "refuses a witness that can't be read",
    observed({ witnesses: [mark(99), { host: "vault", state: "damaged", why: "not JSON" }] }),
    "refuse",
    "WITNESS_DAMAGED",
  ],
  [
    "refuses a witness of another node",
    observed({ witnesses: [mark(99, "vault", OTHER_ID)] }),
    "refuse",
    "WITNESS_OTHER_NODE",
  ],
  ["refuses a damaged main", observed({ main: damaged }), "refuse", "MAIN_DAMAGED"],
  ["refuses a main beside another database's journal", observed({ main: mixed }), "refuse", "JOURNAL_STRANGE"],
  ["refuses a replica beside another database's journal", observed({ replica: mixed }), "refuse", "JOURNAL_STRANGE"],
  [
    "refuses a main of another node",
    observed({ main: wallet(100, { nodeId: OTHER_ID }) }),
    "refuse",
    "MAIN_OTHER_NODE",
  ],
  [
    "refuses a main that no node has claimed",
    observed({ main: wallet(100, { nodeId: undefined }) }),
    "refuse",
    "MAIN_UNCLAIMED",
  ],
  ["refuses without hsm_secret", observed({ secret: noSecret }), "refuse", "SECRET_MISSING"],
  [
    "refuses an hsm_secret that others can read",
    observed({ secret: secret({ mode: "0644" }) }),
    "refuse",
    "SECRET_MODE",
  ],
  ["refuses an hsm_secret of another owner", observed({ secret: secret({ owner: "root" }) }), "refuse", "SECRET_OWNER"],
  [
    "refuses an hsm_secret of another node",
    observed({ secret: secret({ nodeId: OTHER_ID }) }),
    "refuse",
    "SECRET_OTHER_NODE",
  ],
  [
    "refuses an hsm_secret of no known form",
    observed({ secret: secret({ kind: "invalid", nodeId: undefined, why: "it has 3 bytes" }) }),
    "refuse",
    "SECRET_INVALID",
  ],
  [
    "waits while nothing can be said of hsm_secret",
    observed({ secret: { state: "unreachable", path: "/srv/lightning/lightning/bitcoin/hsm_secret", why: "EIO" } }),
    "wait",
    "SECRET_UNREACHABLE",
  ],
  [
    "goes on with a first start that was cut short before the database had a byte, if SQLite's default mode is declared",
    nothing({ main: empty, journalMode: "delete", permission }),
    "start",
    "FIRST_START",
  ],
  [
    "starts in degraded mode without the replica's mount",
    observed({
      replica: unreachable,
      unmounted: ["/mnt/replica"],
      degraded: { subject: "replica" as const, reason: "vault is dead", since: NOW, until: "2026-11-24T00:00:00.000Z" },
    }),
    "start",
    "DEGRADED",
  ],
  [
    "starts in degraded mode with a witness that died with the replica's host",
    observed({
      replica: unreachable,
      witnesses: [mark(99, "alice"), { host: "vault", state: "unreachable", why: "no answer" }],
      degraded: { subject: "replica" as const, reason: "vault is dead", since: NOW, until: "2026-11-24T00:00:00.000Z" },
    }),
    "start",
    "DEGRADED",
  ],
  [
    "waits in degraded mode as long as no witness answers",
    observed({
      replica: unreachable,
      witnesses: [{ host: "vault", state: "unreachable", why: "no answer" }],
      degraded: { subject: "replica" as const, reason: "vault is dead", since: NOW, until: "2026-11-24T00:00:00.000Z" },
    }),
    "wait",
    "WITNESS_UNREACHABLE",
  ],
  [
    "waits for the replica when only the witness may be missing",
    observed({
      replica: unreachable,
      degraded: { subject: "witness", reason: "third is dead", since: NOW, until: "2026-11-24T00:00:00.000Z" },
    }),
    "wait",
    "REPLICA_UNREACHABLE",
  ],
  [
    "starts both copies in degraded mode without a witness",
    observed({
      witnesses: [mark(99, "alice"), { host: "third", state: "unreachable", why: "no answer" }],
      degraded: { subject: "witness", reason: "third is dead", since: NOW, until: "2026-11-24T00:00:00.000Z" },
    }),
    "start",
    "COPIES_AGREE",
  ],
  [
    "waits for main's mount in degraded mode too",
    observed({
      unmounted: ["/srv/lightning"],
      degraded: { subject: "replica" as const, reason: "vault is dead", since: NOW, until: "2026-11-24T00:00:00.000Z" },
    }),
    "wait",
    "NOT_MOUNTED",
  ],
  [
    "refuses in degraded mode when the replica is newer than main",
    observed({
      replica: wallet(101),
      degraded: { subject: "replica" as const, reason: "vault is slow", since: NOW, until: "2026-11-24T00:00:00.000Z" },
    }),
    "refuse",
    "REPLICA_NEWER",
  ],
  [
    "waits for the replica when degraded mode is of a time that is yet to come, as after a clock was reset",
    observed({
      replica: unreachable,
      degraded: {
        subject: "replica" as const,
        reason: "vault was dead last month",
        since: "2026-11-23T12:00:01.000Z",
        until: "2026-11-24T00:00:00.000Z",
      },
    }),
    "wait",
    "REPLICA_UNREACHABLE",
  ],
  [
    "waits for the replica once degraded mode has ended",
    observed({
      replica: unreachable,
      degraded: { subject: "replica" as const, reason: "vault is dead", since: NOW, until: NOW },
    }),
    "wait",
    "REPLICA_UNREACHABLE",
  ],
];

for (const [title, seen, verdict, code] of ROWS) {
  test(`gate ${title}`, (t) => {
    const decision = decide(seen);
    t.deepEqual({ verdict: decision.verdict, code: decision.code }, { verdict, code } as never);
  });
}

test("a file that can't be read has a way on, and one whose place is not there has none but the place", (t) => {
  const fix = (seen: Observed) => {
    const decision = decide(seen);
    return decision.verdict === "start" ? "" : decision.fix;
  };
  t.regex(fix(observed({ main: unreadable })), /systemctl stop lightningd, then \.\/twofold restore replica/);
  t.regex(fix(observed({ main: unreadable, replica: undefined })), /put the newest copy/);
  t.regex(fix(observed({ replica: unreadable })), /\.\/twofold resync replica/);
  t.notRegex(fix(observed({ main: unreachable })), /twofold/);
});

test("a refusal of a main that was rolled back names the copies that were put aside, the newest first", (t) => {
  const fix = (aside: Observed["aside"]) => {
    const decision = decide(observed({ witnesses: [mark(105)], ...(aside ? { aside } : {}) }));
    return decision.verdict === "refuse" ? decision.fix : "";
  };
  const aside = [
    { path: "/srv/lightningd.sqlite3.replaced-1/lightningd.sqlite3", version: 105 },
    { path: "/srv/lightningd.sqlite3.old", version: 7 },
  ];
  t.regex(fix(aside), /put aside were 105 at \/srv\/lightningd\.sqlite3\.replaced-1.*, 7 at /);
  t.regex(fix([]), /beside main and replica none was put aside/);
});

test("one of several marks that is missing is said loudly, with the mark that main was held against", (t) => {
  const decision = decide(observed({ witnesses: [mark(98, "alice"), { host: "vault", state: "missing" }] }));
  t.is(decision.verdict, "start");
  const notes = decision.verdict === "start" ? decision.notes.join() : "";
  t.regex(notes, /NO MARK ON vault: .*the witness on alice 98/);
});

test("whoever is to put a copy in main's place by hand is told not to leave another database's journal beside it", (t) => {
  for (const main of [absent, damaged, mixed]) {
    const decision = decide(observed({ main, replica: undefined }));
    t.regex(
      decision.verdict === "refuse" ? decision.fix : "",
      /without the -wal or -journal that lies there/,
      main.state,
    );
  }
});

test("what is not mounted is brought back by the unit that mounts it", (t) => {
  const remedy = (decision: ReturnType<typeof decide>) => (decision.verdict === "start" ? "" : decision.fix);
  t.regex(
    remedy(decide(observed({ unmounted: ["/srv/lightning"] }))),
    /systemctl start "\$\(systemd-escape --path --suffix=mount \/srv\/lightning\)"/,
  );
  const remoteReplicaMount = "/var/lib/twofold-replica/vault";
  const remote = decide(observed({ unmounted: [remoteReplicaMount], remoteReplicaMount }));
  t.is(remote.code, "NOT_MOUNTED");
  t.regex(remedy(remote), /systemctl start twofold-replica;/);
});

test("gate never refuses what a crash can leave: replica at main or one behind, every witness at main or below", (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2 ** 31 }),
      fc.boolean(),
      fc.array(fc.nat(), { minLength: 1, maxLength: 4 }),
      fc.constantFrom("wal" as const, "delete" as const),
      (version, behind, below, journalMode) => {
        const seen = observed({
          journalMode,
          main: wallet(version, { journalMode }),
          replica: wallet(behind ? version - 1 : version, { journalMode }),
          witnesses: below.map((difference, index) => mark(Math.max(0, version - difference), `host${index}`)),
        });
        return decide(seen).verdict === "start";
      },
    ),
  );
  t.pass();
});

test("gate never starts when any copy or witness has seen more than main", (t) => {
  const versions = fc.integer({ min: 0, max: 50 });
  fc.assert(
    fc.property(versions, versions, fc.array(versions, { maxLength: 3 }), (main, replica, marks) => {
      const ahead = replica > main || marks.some((version) => version > main);
      fc.pre(ahead);
      const seen = observed({
        main: wallet(main),
        replica: wallet(replica),
        witnesses: marks.map((version, index) => mark(version, `host${index}`)),
        permission,
        degraded: { subject: "replica", reason: "x", since: NOW, until: "2027-01-01T00:00:00.000Z" },
      });
      return decide(seen).verdict === "refuse";
    }),
  );
  t.pass();
});

test("a clock that is wrong decides nothing but the end of a permission and of degraded mode", (t) => {
  const moments = fc.date({ noInvalidDate: true }).map((date) => date.toISOString());
  const rows = ROWS.filter(([, { permission, degraded }]) => permission === undefined && degraded === undefined);
  t.true(rows.length > 20);
  fc.assert(
    fc.property(fc.constantFrom(...rows), moments, moments, ([, seen], now, at) => {
      const witnesses = seen.witnesses.map((witness) =>
        witness.state === "mark" ? { ...witness, mark: { ...witness.mark, at } } : witness,
      );
      const [before, after] = [decide(seen), decide({ ...seen, now, witnesses })];
      return before.verdict === after.verdict && before.code === after.code;
    }),
  );
});

test("gate never starts on a main that is no wallet, unless the first start was permitted where nothing else exists", (t) => {
  const copies = fc.constantFrom(absent, blank(), empty, damaged, unreachable);
  const secrets = fc.constantFrom(noSecret, secret());
  const replicas = fc.constantFrom(absent, blank(), wallet(3), damaged, unreachable, undefined);
  const witnesses = fc.constantFrom<Observed["witnesses"]>([], [mark(3)], [{ host: "vault", state: "missing" }]);
  fc.assert(
    fc.property(copies, secrets, replicas, witnesses, fc.boolean(), (main, hsm, replica, places, permitted) => {
      const seen = nothing({
        main,
        secret: hsm,
        replica,
        witnesses: places,
        permission: permitted ? permission : undefined,
      });
      const known = replica?.state === "wallet" || places.some((place) => place.state === "mark");
      const decision = decide(seen);
      return decision.verdict !== "start" || (permitted && !known && main.state === "blank");
    }),
  );
  t.pass();
});

test("a refusal names what was found with its values, what would have happened, and what to do", (t) => {
  const lines = describeDecision(decide(observed({ witnesses: [mark(101)] }))).join("\n");
  t.regex(lines, /main has data_version 100/);
  t.regex(lines, /the replica 100/);
  t.regex(lines, /witness on vault has seen 101/);
  t.regex(lines, /would have happened: .*old state/);
  t.regex(lines, /to do: /);
});

test("a refusal over a newer replica counts the commits and names the verb", (t) => {
  const decision = decide(observed({ replica: wallet(103) }));
  t.is(decision.verdict, "refuse");
  const lines = describeDecision(decision).join("\n");
  t.regex(lines, /main lost 3 acknowledged commit/);
  t.regex(lines, /\.\/twofold restore replica/);
});

test("the node id of the witness decides when this host has none recorded", (t) => {
  const decision = decide(observed({ identity: undefined, main: wallet(100, { nodeId: OTHER_ID }) }));
  t.is(decision.code, "MAIN_OTHER_NODE");
  t.is(decide(observed({ identity: undefined })).verdict, "start");
  t.is(NODE_ID.length, 66);
});
