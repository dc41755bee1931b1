/**
 * `npm run prove -- alerts`: everything that a PostgreSQL cluster and its etcd can be alerted of is made to happen, is told by the host that
 * sees it, and is over when it is mended; and a store that all members of etcd have lost is made anew.
 */
import test from "ava";
import type { AlertCode } from "../../scripts/host/alerts/alert.ts";
import { TLS, tlsFiles } from "../../scripts/host/contract.ts";
import { SNAPSHOT_DIRECTORY, SNAPSHOT_UNITS } from "../../templates/etcd-snapshot.ts";
import { alertsOf, awaitAlert, awaitNoAlert, lookNow } from "../faults/alerts.ts";
import { Cluster } from "../faults/cluster.ts";
import { healLinks, slowLink } from "../faults/links.ts";
import type { Machine } from "../faults/machine.ts";
import { RECOVER_SECONDS, secondSession, WHOLE_SECONDS } from "../faults/under-writer.ts";
import { eventually, Lab } from "../helpers/lab.ts";
import { outputOf } from "../helpers/run-program.ts";

const SECONDS = 120;
/** A standby that gets this much falls behind a writer. */
const SLOW_BYTES = 200_000;
const LOG_MIB = 48;
/** Bytes of etcd's quota, which is filled by values of this size. */
const VALUE_BYTES = 1_000_000;

let cluster: Cluster;

test.before(async () => {
  cluster = new Cluster(await Lab.up({ name: "postgres", log: () => {} }));
});
test.after.always(() => cluster?.lab.down());

const codes = async (host: Machine) => (await alertsOf(host)).map(({ code }) => code);
const etcdctl = (host: Machine, ...words: string[]) => {
  const { key, certificate } = tlsFiles("etcd");
  const login = [`--cacert=${TLS.ca}`, `--cert=${certificate}`, `--key=${key}`, "--endpoints=https://127.0.0.1:2379"];
  return host.exec("etcdctl", ...login, "--command-timeout=30s", ...words);
};
/** Log that nobody reads, written on the primary alone: it waits for no standby. */
const writeLog = (primary: Machine, mebibytes: number) =>
  cluster.sql(
    primary,
    `SET synchronous_commit = off; SELECT count(pg_logical_emit_message(false, 'twofold', repeat('x', 1048576))) FROM generate_series(1, ${mebibytes})`,
  );

async function nothingIsWrong(...hosts: Machine[]): Promise<void> {
  await cluster.whole(WHOLE_SECONDS);
  for (const host of hosts.length > 0 ? hosts : [cluster.node, ...cluster.members])
    await eventually(`${host.name} has no alert`, SECONDS, async () => {
      await lookNow(host);
      const found = await alertsOf(host);
      if (found.length > 0)
        throw new Error(found.map(({ code, subject, value }) => `${code} ${subject}: ${value}`).join("; "));
      return true;
    });
}

async function over(host: Machine, ...gone: AlertCode[]): Promise<void> {
  for (const code of gone) await awaitNoAlert(host, code, SECONDS);
}

/** lightningd ends with its connection, and is back in seconds. */
const anInvoice = (label: string) =>
  eventually(`lightningd makes invoice ${label}`, RECOVER_SECONDS, async () =>
    cluster.lab.invoice(cluster.node.name, label),
  );

/** The newest snapshot on a host. */
const newestSnapshot = async (host: Machine) =>
  (await host.exec("ls", SNAPSHOT_DIRECTORY))
    .split("\n")
    .filter((name) => name.endsWith(".db"))
    .sort()
    .at(-1);

test.serial(
  "a cluster that is as declared has no alert, a quota, and a snapshot of its store on every member",
  async (t) => {
    for (const member of cluster.members) {
      await member.exec("systemctl", "start", SNAPSHOT_UNITS.service);
      t.regex((await newestSnapshot(member)) ?? "", /^alice-\d{8}T\d{6}Z\.db$/);
      t.is((await member.exec("stat", "--format=%a %U", SNAPSHOT_DIRECTORY)).trim(), "700 etcd");
    }
    await nothingIsWrong();
    t.is((await cluster.lab.verb("alerts")).status, 0);
    t.is((await cluster.lab.verb("check")).status, 0);
  },
);

test.serial("standbys that are gone are told by the primary, and that no commit can go on", async (t) => {
  const primary = await cluster.primary();
  const standbys = cluster.others(primary);
  for (const standby of standbys) await cluster.killMember(standby);
  const alert = await awaitAlert(primary, "PG_NO_STANDBY", SECONDS);
  t.regex(alert.value, /0 of 1 synchronous standbys/);
  for (const standby of standbys)
    await awaitAlert(primary, "PG_MEMBER_DOWN", SECONDS, new RegExp(`on ${standby.name}$`));
  await awaitAlert(standbys[0] ?? primary, "PG_MEMBER_DOWN", SECONDS);
  t.regex((await cluster.lab.verb("status")).stdout, /ALERT PG_NO_STANDBY \(critical\)/);
  for (const standby of standbys) await cluster.startMember(standby);
  await nothingIsWrong();
});

test.serial("a wait for the standby that somebody cancels is told, and the node's own role can't do it", async (t) => {
  const primary = await cluster.primary();
  for (const standby of cluster.others(primary)) await cluster.killMember(standby);
  await eventually("the primary has no standby", SECONDS, async () => (await cluster.receivers(primary)).length === 0);
  // Its session waits: the table is there, and in one place only.
  const waiting = cluster.sql(primary, "CREATE TABLE twofold_cancelled ()");
  await eventually("a commit waits for its standby", 30, async () => {
    const pids = await cluster.sql(
      primary,
      "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE 'CREATE%'",
    );
    return pids.trim() !== "";
  });
  // lightningd's own commit waits as well. Whoever has the node's certificate gets to none of the two waits.
  const invoice = cluster.lab.invoice(cluster.node.name, "waits");
  const role = cluster.topology.node.name;
  const waits = `SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND usename = '${role}'`;
  await eventually("lightningd waits", 30, async () => (await cluster.sql(primary, waits)).trim() !== "");
  const cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
  const own = await secondSession(cluster, role, cancel);
  t.not(own.status, 0);
  t.regex(own.stderr, /too many connections for role/);
  const gate = await secondSession(cluster, `${role}_gate`, cancel);
  t.not(gate.status, 0);
  t.regex(gate.stderr, /permission denied to cancel query/);
  t.not((await cluster.sql(primary, waits)).trim(), "", "it waits on");

  await cluster.sql(primary, `${cancel} AND query LIKE 'CREATE%'`);
  t.regex(await waiting, /CREATE TABLE/, "a false acknowledgement");
  const alert = await awaitAlert(primary, "PG_CANCELLED_WAIT", SECONDS);
  t.regex(
    alert.value,
    /^once within a day, last at 2\d{3}-.*canceling wait for synchronous replication due to user request/,
  );
  await lookNow(primary);
  t.regex(
    (await alertsOf(primary)).find(({ code }) => code === "PG_CANCELLED_WAIT")?.value ?? "",
    /^once/,
    "told once",
  );
  for (const standby of cluster.others(primary)) await cluster.startMember(standby);
  await cluster.whole(WHOLE_SECONDS);
  await invoice;
  await awaitNoAlert(primary, "PG_NO_STANDBY", SECONDS);
  t.deepEqual(await codes(primary), ["PG_CANCELLED_WAIT"], "it stays for a day");
  await cluster.sql(primary, "DROP TABLE twofold_cancelled");
  await forgetDay(primary);
  await nothingIsWrong();
});

/** A day later: what the log had is a day old, and so is what was remembered of it. */
async function forgetDay(host: Machine): Promise<void> {
  await host.exec("rm", "/var/lib/twofold/alerts/state.json");
}

test.serial("a standby that falls behind is told, and is over when it has caught up", async (t) => {
  const primary = await cluster.primary();
  const synchronous = await cluster.synchronous();
  const behind = cluster.others(primary).find((member) => member !== synchronous);
  if (behind === undefined) throw new Error("the cluster has no asynchronous standby");
  await slowLink(behind, primary, SLOW_BYTES);
  await writeLog(primary, LOG_MIB);
  const alert = await awaitAlert(primary, "PG_LAG", SECONDS, new RegExp(behind.name));
  t.regex(alert.value, /^\d+ bytes behind the primary, more than 16777216$/);
  await healLinks(behind);
  await nothingIsWrong();
});

test.serial("a slot that keeps more log than it should is told, and is over when it is gone", async (t) => {
  const primary = await cluster.primary();
  await cluster.configure({ "postgresql.parameters.max_slot_wal_keep_size": "64MB" });
  await eventually("the limit holds", 30, async () =>
    (await cluster.sql(primary, "SHOW max_slot_wal_keep_size")).includes("64MB"),
  );
  await cluster.sql(primary, "SELECT pg_create_physical_replication_slot('forgotten', true)");
  await writeLog(primary, LOG_MIB);
  const alert = await awaitAlert(primary, "PG_SLOT_RETAINS", SECONDS, /^slot forgotten$/);
  t.regex(alert.value, /^not in use, .* of at most 67108864$/);
  await cluster.sql(primary, "SELECT pg_drop_replication_slot('forgotten')");
  await over(primary, "PG_SLOT_RETAINS");
  outputOf(await cluster.lab.verb("repair", "--yes"));
  await nothingIsWrong();
});

test.serial(
  "a member of etcd that is gone is told by itself and the others, and a lost majority by who is left",
  async (t) => {
    const primary = await cluster.primary();
    const [first, second] = cluster.others(primary);
    if (first === undefined || second === undefined) throw new Error("the cluster has fewer than three members");
    await cluster.stopEtcd(first);
    await awaitAlert(first, "ETCD_DOWN", SECONDS);
    await awaitAlert(primary, "ETCD_MEMBER_DOWN", SECONDS, new RegExp(`on ${first.name}$`));
    await cluster.stopEtcd(second);
    t.regex((await awaitAlert(primary, "ETCD_NO_QUORUM", SECONDS)).value, /no leader|no majority/);
    await awaitAlert(primary, "PG_NO_PRIMARY", SECONDS);
    for (const each of [first, second]) await cluster.startEtcd(each);
    await nothingIsWrong();
  },
);

test.serial(
  "a store that is full is told before and after, and goes on when README's steps have made room",
  async (t) => {
    const primary = await cluster.primary();
    const [host] = cluster.others(primary);
    if (host === undefined) throw new Error("the cluster has one member");
    // The value comes from a file: it is longer than an argument may be.
    await host.exec(
      "sh",
      "-euc",
      `head -c ${VALUE_BYTES} /dev/urandom | base64 -w0 | head -c ${VALUE_BYTES} > /tmp/value`,
    );
    const { key, certificate } = tlsFiles("etcd");
    const fill = (count: number) =>
      cluster.lab.tryExec(
        host.name,
        ...[
          "sh",
          "-uc",
          'for each in $(seq "$1"); do etcdctl "$2" "$3" "$4" put filler < /tmp/value || exit 1; done',
          "sh",
        ],
        ...[`${count}`, `--cacert=${TLS.ca}`, `--cert=${certificate}`, `--key=${key}`],
      );
    const before = await alertsOf(host);
    t.deepEqual(before, []);
    await fill(205);
    await awaitAlert(host, "ETCD_NEARLY_FULL", SECONDS);
    const ran = await fill(100);
    t.regex(ran.stderr, /database space exceeded/);
    const alert = await awaitAlert(host, "ETCD_ALARM", SECONDS);
    t.regex(alert.value, /NOSPACE/);

    await etcdctl(host, "del", "filler");
    const status = JSON.parse(await etcdctl(host, "endpoint", "status", "--write-out=json")) as {
      Status: { header: { revision: number } };
    }[];
    await etcdctl(host, "compact", `${status[0]?.Status.header.revision}`);
    for (const member of cluster.members) await etcdctl(member, "defrag");
    await etcdctl(host, "alarm", "disarm");
    await nothingIsWrong();
    await anInvoice("after-the-alarm");
  },
);

test.serial("a certificate that ends within a month is told, and is over when it is renewed", async (t) => {
  const [host] = cluster.members;
  if (host === undefined) throw new Error("the cluster has no member");
  const { key, certificate } = tlsFiles("postgres");
  const request = await host.exec("openssl", "req", "-new", "-key", key, "-subj", `/CN=${host.name}`);
  const sign = [
    "openssl",
    "x509",
    "-req",
    "-days",
    "10",
    "-CA",
    `${TLS.authority}/ca.crt`,
    "-CAkey",
    `${TLS.authority}/ca.key`,
  ];
  const short = await cluster.node.exec(
    "sh",
    "-euc",
    'request=$1; shift; printf "%s" "$request" | "$@"',
    "sh",
    request,
    ...sign,
  );
  await host.exec("sh", "-euc", 'printf "%s" "$1" > "$2"', "sh", short, certificate);
  const alert = await awaitAlert(host, "CERTIFICATE_ENDS", SECONDS, /role postgres/);
  t.regex(alert.value, /^it ends in (9|10) days, on /);
  outputOf(await cluster.lab.verb("certificates", "renew"));
  await nothingIsWrong();
});

test.serial(
  "a store that a majority has lost begins anew with the newest member as the primary, whatever a snapshot said",
  async (t) => {
    // Of this hour, the store says: this one is the primary. Then it dies, and the others go on.
    const former = await cluster.primary();
    await former.exec("systemctl", "start", SNAPSHOT_UNITS.service);
    await cluster.killMember(former);
    await cluster.awaitPrimary(cluster.others(former), WHOLE_SECONDS);
    await anInvoice("before-the-loss");
    const refused = await cluster.lab.verb("etcd", "rebuild", "--yes");
    t.is(refused.status, 3);
    t.regex(refused.stderr, /ETCD-HAS-MAJORITY/);

    for (const member of cluster.members) await member.exec("systemctl", "stop", "patroni", "etcd");
    for (const member of cluster.members)
      await member.exec("rm", "--recursive", `${cluster.volume(member)}/etcd/alice`);
    const repaired = await cluster.lab.verb("repair", "--yes");
    t.not(repaired.status, 0);
    t.regex(repaired.stdout + repaired.stderr, /ETCD-STORE-LOST/);
    for (const member of cluster.members)
      t.is((await cluster.lab.tryExec(member.name, "systemctl", "is-active", "etcd")).stdout.trim(), "inactive");

    const rebuilt = await cluster.lab.verb("etcd", "rebuild", "--yes");
    t.is(rebuilt.status, 0, rebuilt.stderr);
    t.regex(rebuilt.stderr, new RegExp(`${former.name}: timeline \\d+, log up to [^ ]+$`, "m"), "it is behind");
    await cluster.whole(WHOLE_SECONDS);
    t.not((await cluster.primary()).name, former.name);
    outputOf(await cluster.lab.verb("repair", "--yes"));
    await nothingIsWrong();
    await anInvoice("after-the-loss");
    const labels = await cluster.labels(await cluster.primary());
    t.true(labels.has("before-the-loss") && labels.has("after-the-loss"));
    t.is((await cluster.lab.verb("check")).status, 0);
  },
);
