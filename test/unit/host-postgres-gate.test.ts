import test from "ava";
import fc from "fast-check";
import { clusterIdentity, clusterMembers } from "../../components/topology/documents/cluster.ts";
import { startLines } from "../../scripts/host/commands/gate.ts";
import type { LightningdDocument, PostgresWalletDocument } from "../../scripts/host/contract.ts";
import { decide } from "../../scripts/host/gate/decide.ts";
import { walletCopy } from "../../scripts/host/gate/observe.ts";
import {
  type ClusterState,
  choosePrimary,
  gather,
  type MemberView,
  type Primary,
  whyNot,
} from "../../scripts/host/postgres/wallet/cluster.ts";
import { type ClusterSeen, decideCluster } from "../../scripts/host/postgres/wallet/decide.ts";
import { mayAdvance, parseMark } from "../../scripts/host/witness/mark.ts";
import { connectionWords, walletDsn } from "../../templates/postgres-dsn.ts";
import { wallet as fileWallet, mark, observed } from "../fixtures/gate/observed.ts";
import { lightningdDocument } from "../fixtures/lightningd/document.ts";
import { postgresConfig, valid } from "../helpers/topologies.ts";

const primary: Primary = {
  state: "primary",
  server: "192.0.2.20",
  systemIdentifier: "7711",
  timeline: 3,
  claimed: true,
  version: 42,
  latest: 42,
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
const inCluster = (change: Partial<Primary> = {}, unseen: string[] = []): ClusterState => ({
  ...primary,
  unseen,
  ...change,
});
const seen = (change: Partial<Primary> = {}, rest: Partial<ClusterSeen> = {}): ClusterSeen => ({
  cluster: inCluster(change),
  required: 1,
  systemIdentifier: "7711",
  timeline: 3,
  ...rest,
});
const wallet42 = fileWallet(42);
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

test("refuses a primary that missed a failover, after a while in which the newer one may come back", (t) => {
  const patience = (given: ClusterSeen) => {
    const decision = decideCluster(given);
    t.is(decision?.code, "PG_OLD_TIMELINE");
    return decision?.verdict === "wait" ? decision.refuseAfterMs : undefined;
  };
  t.is(patience(seen({ timeline: 2 })), 30_000);
  t.is(patience(seen({}, { cluster: inCluster({ timeline: 2 }, ["192.0.2.30"]) })), 600_000);
});

test("a wallet older than its witness is waited for in a cluster, and refused at once in a file", (t) => {
  const cluster = seen();
  const older = { main: wallet42, replica: undefined, witnesses: [mark(43)] };
  const decision = decide(observed({ ...older, cluster }));
  t.is(decision.code, "ROLLED_BACK");
  t.is(decision.verdict === "wait" && decision.refuseAfterMs, 30_000);
  t.is(decide(observed(older)).verdict, "refuse");
});

test("a commit that was made during the look is of somebody who is at work", (t) => {
  t.is(verdict(seen({ latest: 43 })), "wait PG_IN_USE");
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
  t.is(walletCopy(inCluster({ claimed: false, version: null, nodeId: null }), "database alice").state, "blank");
  t.is(walletCopy(inCluster({ version: null }), "database alice").state, "damaged");
  t.is(walletCopy({ state: "unreachable", why: "x" }, "database alice").state, "unreachable");
  const copy = walletCopy(inCluster(), "database alice");
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
const nodeDocument: LightningdDocument = { ...lightningdDocument(), wallet };

test("lightningd is started on the one server that was checked, trusts only the cluster's authority, and is given no password", (t) => {
  const [config, argument = "", ...rest] = startLines(nodeDocument, { config: "/c", server: "192.0.2.20" });
  t.deepEqual([config, rest], ["/c", []]);
  t.true(argument.startsWith("--wallet=postgres://alice@192.0.2.20:5432/alice?"), argument);
  // start-lightningd takes each line as one argument.
  t.notRegex(argument, /\s/);
  const query = new URLSearchParams(argument.slice(argument.indexOf("?")));
  t.is(query.get("sslmode"), "verify-full");
  t.is(query.get("target_session_attrs"), "read-write");
  t.is(query.get("sslrootcert"), "/etc/twofold/tls/ca.crt");
  t.is(query.get("sslkey"), "/etc/twofold/tls/node.key");
  t.false(/password|passfile/.test(argument));
  t.throws(() => startLines(nodeDocument, { config: "/c", server: "192.0.2.99" }), { message: /is no member/ });
  t.deepEqual(startLines(lightningdDocument(), { config: "/c" }), ["/c"]);
});

test("lightningd.conf names every member", (t) => {
  t.true(
    walletDsn(wallet, wallet.members).startsWith(
      "postgres://alice@192.0.2.10:5432,192.0.2.20:5432,192.0.2.30:5432/alice?",
    ),
  );
});

test("each member is asked by itself, as the gate's own role, whatever it is", (t) => {
  for (const member of wallet.members) {
    const words = connectionWords(wallet, member).split(" ");
    for (const word of [`host=${member.address}`, "user=alice_gate", "sslmode=verify-full", "dbname=alice"])
      t.true(words.includes(word), word);
    t.false(words.some((word) => word.startsWith("target_session_attrs")));
  }
});

const stale: Primary = {
  ...primary,
  server: "192.0.2.10",
  timeline: 2,
  standbys: [{ name: "eve", sync: true, flushed: false, lagMs: null }],
  sessions: [{ pid: 9, client: "192.0.2.10", since: "2026-11-23", application: "lightningd" }],
};
const standby: MemberView = { state: "standby", server: "192.0.2.30" };
const unseen: MemberView = { state: "unseen", server: "192.0.2.30", why: "192.0.2.30 does not answer within 500 ms" };

test("a primary that missed a failover hides the newer one in no order, and its session and standbys count for nothing", (t) => {
  const views = [stale, primary, standby];
  const orders = fc.shuffledSubarray(views, { minLength: 3 });
  fc.assert(
    fc.property(orders, (order) => {
      const chosen = choosePrimary(order, 1);
      t.like(chosen, { state: "primary", server: primary.server, timeline: 3 });
      t.is(verdict(seen({}, { cluster: chosen })), undefined);
    }),
  );
  t.like(
    choosePrimary(
      [
        { ...stale, standbys: primary.standbys },
        { ...primary, standbys: [] },
      ],
      1,
    ),
    { timeline: 3 },
  );
  t.like(choosePrimary([{ ...stale, timeline: 3 }, primary], 1), { server: primary.server });
  t.like(choosePrimary([stale, unseen], 1), { server: stale.server, unseen: ["192.0.2.30"] });
});

test("without a primary every member's reason is told", (t) => {
  t.deepEqual(choosePrimary([unseen, standby], 1), {
    state: "unreachable",
    why: "192.0.2.30 does not answer within 500 ms; 192.0.2.30 is a standby",
  });
});

test("a member that does not answer is waited for, but not once a primary with its standbys has answered", async (t) => {
  const late = new Promise<MemberView>(() => {});
  const ask = (server: string, view: Promise<MemberView>) => ({ server, view });
  const views = await gather([ask("192.0.2.30", late), ask(primary.server, Promise.resolve(primary))], 1, 1);
  t.deepEqual(
    views.map(({ state }) => state),
    ["unseen", "primary"],
  );
  let answer: (view: MemberView) => void = () => {};
  const slow = new Promise<MemberView>((resolve) => {
    answer = resolve;
  });
  let done = false;
  const gathering = gather([ask(stale.server, Promise.resolve(stale)), ask(primary.server, slow)], 1, 1).then((all) => {
    done = true;
    return all;
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.false(done, "a primary without its standbys is no answer yet");
  answer(primary);
  t.deepEqual(await gathering, [stale, primary]);
});

test("psql's reasons are told once each", (t) => {
  const stderr =
    'psql: error: connection to server at "a" failed: session is read-only\nconnection to server at "a" failed: session is read-only\n';
  t.is(whyNot(stderr), 'connection to server at "a" failed: session is read-only');
});
