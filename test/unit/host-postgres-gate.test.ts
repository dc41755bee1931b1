import test from "ava";
import fc from "fast-check";
import { clusterIdentity, clusterMembers } from "../../components/topology/documents/cluster.ts";
import type { PostgresWalletDocument } from "../../scripts/host/contract.ts";
import { walletCopy } from "../../scripts/host/gate/observe.ts";
import { type Primary, whyNot } from "../../scripts/host/postgres/wallet/cluster.ts";
import { type ClusterSeen, decideCluster } from "../../scripts/host/postgres/wallet/decide.ts";
import { mayAdvance, parseMark } from "../../scripts/host/witness/mark.ts";
import { connectionWords, walletDsn } from "../../templates/postgres-dsn.ts";
import { postgresConfig, valid } from "../helpers/topologies.ts";

const primary: Primary = {
  state: "primary",
  server: "192.0.2.20",
  systemIdentifier: "7711",
  timeline: 3,
  claimed: true,
  version: 42,
  nodeId: `02${"ab".repeat(32)}`,
  asked: "0/3000060",
  settings: { fsync: "on", full_page_writes: "on", synchronous_standby_names: '"eve"' },
  roleSettings: ["synchronous_commit=on", "statement_timeout=0"],
  standbys: [
    { name: "eve", sync: true, flushed: true, lagMs: 1 },
    { name: "alice", sync: false, flushed: true, lagMs: null },
  ],
  sessions: [],
};
const seen = (change: Partial<Primary> = {}, rest: Partial<ClusterSeen> = {}): ClusterSeen => ({
  cluster: { ...primary, ...change },
  required: 1,
  systemIdentifier: "7711",
  timeline: 3,
  ...rest,
});
const verdict = (given: ClusterSeen) => {
  const decision = decideCluster(given);
  return decision && "code" in decision ? `${decision.verdict} ${decision.code}` : undefined;
};

test("nothing of a healthy cluster stands in the way", (t) => {
  t.is(verdict(seen()), undefined);
  t.is(verdict(seen({ timeline: 4 })), undefined);
  t.is(verdict(seen({}, { systemIdentifier: undefined, timeline: undefined })), undefined);
});

test("the gate waits while no member takes writes", (t) => {
  t.is(verdict(seen({}, { cluster: { state: "unreachable", why: "session is read-only" } })), "wait PG_NO_PRIMARY");
});

test("refuses another cluster than the one that the node was made in", (t) => {
  t.is(verdict(seen({ systemIdentifier: "7712" })), "refuse PG_OTHER_CLUSTER");
});

test("refuses a primary that missed a failover", (t) => {
  t.is(verdict(seen({ timeline: 2 })), "refuse PG_OLD_TIMELINE");
});

test("refuses a primary that would acknowledge what is in one place only", (t) => {
  t.is(verdict(seen({ settings: { ...primary.settings, fsync: "off" } })), "refuse PG_NOT_DURABLE");
  t.is(verdict(seen({ settings: { ...primary.settings, full_page_writes: "off" } })), "refuse PG_NOT_DURABLE");
  t.is(verdict(seen({ roleSettings: ["synchronous_commit=local"] })), "refuse PG_NOT_DURABLE");
  t.is(verdict(seen({ roleSettings: [] })), "refuse PG_NOT_DURABLE");
});

test("the gate waits while Patroni has named no synchronous standby", (t) => {
  t.is(verdict(seen({ settings: { ...primary.settings, synchronous_standby_names: "" } })), "wait PG_NOT_DURABLE");
});

test("the gate waits while the node's role is logged in", (t) => {
  const session = { pid: 9, client: "192.0.2.10", since: "2026-11-23", application: "lightningd" };
  t.is(verdict(seen({ sessions: [session] })), "wait PG_IN_USE");
});

test("the gate waits exactly until as many synchronous standbys as are required have flushed what the primary had", (t) => {
  const standby = fc.record({ sync: fc.boolean(), flushed: fc.boolean() });
  fc.assert(
    fc.property(fc.array(standby, { maxLength: 4 }), fc.integer({ min: 1, max: 3 }), (list, required) => {
      const standbys = list.map((each, index) => ({ name: `s${index}`, lagMs: null, ...each }));
      const enough = list.filter(({ sync, flushed }) => sync && flushed).length >= required;
      t.is(verdict(seen({ standbys }, { required })), enough ? undefined : "wait PG_NO_STANDBY");
    }),
  );
});

test("a database without the wallet's tables is blank, and one without a version damaged", (t) => {
  t.is(walletCopy({ ...primary, claimed: false, version: null, nodeId: null }, "database alice").state, "blank");
  t.is(walletCopy({ ...primary, version: null }, "database alice").state, "damaged");
  t.is(walletCopy({ state: "unreachable", why: "x" }, "database alice").state, "unreachable");
  const copy = walletCopy(primary, "database alice");
  t.is(copy.state === "wallet" && copy.version, 42);
});

test("a mark never goes back to an older timeline", (t) => {
  const mark = parseMark(
    JSON.stringify({
      node: "alice",
      nodeId: primary.nodeId,
      dataVersion: 42,
      exact: false,
      at: "2026-11-23T00:00:00Z",
      source: "sample",
      timeline: 3,
    }),
  );
  t.false(mayAdvance(mark, { ...mark, dataVersion: 43, timeline: 2 }).accepted);
  t.deepEqual(mayAdvance(mark, { ...mark, timeline: 4 }), { accepted: true, changed: true });
  t.throws(() => parseMark(JSON.stringify({ ...mark, timeline: 0 })), { message: /timeline/ });
});

const topology = valid(postgresConfig());
const wallet: PostgresWalletDocument = {
  kind: "postgres",
  members: clusterMembers(topology, ["alice", "vault", "eve"]),
  role: "alice",
  gateRole: "alice_gate",
  synchronousStandbys: 1,
  identity: clusterIdentity(topology, "alice", "node"),
};

test("lightningd is told of every member, trusts only the cluster's authority, and is given no password", (t) => {
  const url = walletDsn(wallet);
  t.true(url.startsWith("postgres://alice@192.0.2.10:5432,192.0.2.20:5432,192.0.2.30:5432/alice?"));
  const query = new URLSearchParams(url.slice(url.indexOf("?")));
  t.is(query.get("sslmode"), "verify-full");
  t.is(query.get("target_session_attrs"), "read-write");
  t.is(query.get("sslrootcert"), "/etc/twofold/tls/ca.crt");
  t.is(query.get("sslkey"), "/etc/twofold/tls/node.key");
  t.false(/password|passfile/.test(url));
});

test("the gate asks the primary as its own role, whose transactions write nothing", (t) => {
  const words = connectionWords(wallet, wallet.gateRole, "twofold-gate").split(" ");
  for (const word of ["user=alice_gate", "target_session_attrs=primary", "sslmode=verify-full", "dbname=alice"])
    t.true(words.includes(word), word);
});

test("psql's reasons are told once each", (t) => {
  const stderr =
    'psql: error: connection to server at "a" failed: session is read-only\nconnection to server at "a" failed: session is read-only\n';
  t.is(whyNot(stderr), 'connection to server at "a" failed: session is read-only');
});
