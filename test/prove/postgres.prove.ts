/**
 * `npm run prove -- postgres`: each fault of the PostgreSQL cluster TWOFOLD_RUNS times (3), under a writer. What it proves goes into the
 * survival table, if the real lightningd ran.
 */
import test from "ava";
import { Cluster } from "../faults/cluster.ts";
import { cutLink, healLinks } from "../faults/links.ts";
import type { Machine } from "../faults/machine.ts";
import { killHost, powerOn } from "../faults/power.ts";
import { pauseHost, resumeHost } from "../faults/processes.ts";
import type { Recorder } from "../faults/recorder.ts";
import {
  acknowledgedDuring,
  RECOVER_SECONDS,
  underWriter,
  WHOLE_SECONDS,
  type Witnessed,
} from "../faults/under-writer.ts";
import { eventually, Lab } from "../helpers/lab.ts";
import { recordPass } from "../helpers/proofs.ts";

const RUNS = Number(process.env.TWOFOLD_RUNS || 3);
const SETUP = "postgres 3+1";
/** Longer than Patroni's ttl, so that a primary that can't renew its lock has lost it. */
const BEYOND_TTL_SECONDS = 30;

let cluster: Cluster;
test.before(async () => {
  cluster = new Cluster(await Lab.up({ name: "postgres", log: () => {} }));
});
test.after.always(() => cluster?.lab.down());

/** Runs a fault {@link RUNS} times; each time nothing that was acknowledged may be missing. */
function proves(title: string, fault: (primary: Machine, recorder: Recorder) => Promise<void>): void {
  test.serial(title, async (t) => {
    const all: Witnessed[] = [];
    for (let run = 1; run <= RUNS; run++) {
      const result = await underWriter(cluster, `${test.meta.file.length}-${title.length}-${run}-${Date.now()}`, fault);
      t.deepEqual(result.lost, [], `run ${run}`);
      all.push(result);
    }
    const gaps = all.map(({ gap }) => gap).sort((a, b) => a - b);
    t.log(`${RUNS} runs, longest gaps ${gaps.map((gap) => gap.toFixed(1)).join(", ")} s`);
    if (title.includes("[survival:primary]") && process.env.TWOFOLD_LIGHTNINGD_ARCHIVE !== undefined) {
      const { version } = await cluster.lab.rpc<{ version: string }>(cluster.node.name, "getinfo");
      recordPass("survival:primary", SETUP, { lightningd: version, runs: RUNS });
    }
  });
}

proves("kill -9 of the primary's postmaster", (primary) => cluster.killPostmaster(primary));

proves("kill -9 of Patroni alone", (primary) => cluster.killPatroni(primary));

proves("the end of the primary's host [survival:primary]", async (primary) => {
  await killHost(primary);
  await cluster.awaitPrimary(cluster.others(primary), RECOVER_SECONDS);
  await powerOn([primary]);
});

proves("a primary that stands still for a minute acknowledges nothing when it goes on", async (primary, recorder) => {
  await pauseHost(primary);
  const next = await cluster.awaitPrimary(cluster.others(primary), RECOVER_SECONDS);
  await acknowledgedDuring(recorder, BEYOND_TTL_SECONDS);
  await resumeHost(primary);
  await eventually(`${primary.name} follows ${next.name}`, WHOLE_SECONDS, async () =>
    (await cluster.list([next])).some(({ name, state }) => name === primary.name && state === "streaming"),
  );
});

proves("a primary that is cut off from everyone for longer than its lock lasts", async (primary, recorder) => {
  const others = cluster.others(primary);
  for (const other of others) await cutLink(primary, other);
  await cluster.awaitPrimary(others, RECOVER_SECONDS);
  await acknowledgedDuring(recorder, 5);
  await healLinks(primary);
});

proves("one-way loss: the primary hears its standbys, and they don't hear it", async (primary, recorder) => {
  for (const other of cluster.others(primary)) await cutLink(primary, other, "out");
  await acknowledgedDuring(recorder, BEYOND_TTL_SECONDS);
  await healLinks(primary);
});

proves("the primary cut off from its synchronous standby alone", async (primary, recorder) => {
  const standby = (await cluster.list()).find(({ role }) => role === "sync_standby")?.name;
  const machine = cluster.members.find(({ name }) => name === standby);
  if (machine === undefined) throw new Error("no standby is synchronous");
  await cutLink(primary, machine);
  await recorder.more(1, RECOVER_SECONDS);
  await healLinks(primary);
});

proves("without any standby nothing is acknowledged, and all goes on when one is back", async (primary, recorder) => {
  const standbys = cluster.others(primary);
  // Stopped and not killed with their hosts: etcd keeps its majority, so the primary stays primary.
  for (const standby of standbys) await standby.exec("systemctl", "stop", "patroni");
  const meanwhile = await acknowledgedDuring(recorder, 15);
  // What its standby had flushed before it stopped comes first.
  const late = await acknowledgedDuring(recorder, 15);
  for (const standby of standbys) await standby.exec("systemctl", "start", "patroni");
  if (late.length > 0) throw new Error(`acknowledged without a standby: ${late.join()} (${meanwhile.length} before)`);
});

proves("one member of etcd dead: nothing stops", async (primary, recorder) => {
  const [other] = cluster.others(primary);
  await other?.exec("systemctl", "stop", "etcd");
  await recorder.more(20, RECOVER_SECONDS);
  await other?.exec("systemctl", "start", "--no-block", "etcd");
});

proves("two members of etcd dead: no primary, no acknowledgement, and all comes back", async (primary, recorder) => {
  const others = cluster.others(primary);
  for (const other of others) await other.exec("systemctl", "stop", "etcd");
  await acknowledgedDuring(recorder, BEYOND_TTL_SECONDS);
  const late = await acknowledgedDuring(recorder, 10);
  for (const other of others) await other.exec("systemctl", "start", "--no-block", "etcd");
  if (late.length > 0) throw new Error(`acknowledged without a majority of etcd: ${late.join()}`);
});

proves("a standby that is made anew while the primary's host ends is not promoted", async (primary) => {
  const list = await cluster.list();
  const spare = list.find(({ role, name }) => role === "replica" && name !== primary.name)?.name ?? "";
  const machine = cluster.members.find(({ name }) => name === spare);
  if (machine === undefined) throw new Error("no member is asynchronous");
  const reinit = cluster.lab.verb("reinit", "--yes", spare);
  await eventually(`${spare} is being made anew`, 30, async () =>
    (await cluster.list()).some(({ name, state }) => name === spare && state !== "streaming"),
  );
  await killHost(primary);
  const next = await cluster.awaitPrimary(cluster.others(primary), RECOVER_SECONDS);
  await powerOn([primary]);
  await reinit;
  if (next.name === spare) throw new Error(`${spare} was promoted while it was being made anew`);
});

test.serial("twenty failovers in a row: the unit is still active, and nothing is lost", async (t) => {
  for (let failover = 1; failover <= 20; failover++) {
    const { lost } = await underWriter(cluster, `twenty-${failover}`, async (primary) => {
      await primary.exec("systemctl", "kill", "--signal=SIGKILL", "--kill-whom=all", "patroni");
    });
    t.deepEqual(lost, [], `failover ${failover}`);
  }
  t.is((await cluster.node.exec("systemctl", "is-active", "lightningd")).trim(), "active");
});

test.serial(
  "a wait that a superuser cancels is acknowledged in one place only, and the node's role can't cancel it",
  async (t) => {
    await cluster.whole(WHOLE_SECONDS);
    const primary = await cluster.primary();
    const settings = await cluster.sql(
      primary,
      "SELECT rolsuper, array_to_string(rolconfig, ' ') FROM pg_roles WHERE rolname = 'alice'",
    );
    t.regex(settings, /^f\|.*synchronous_commit=on.*statement_timeout=0/);
    const { lost } = await underWriter(cluster, "cancelled", async (_primary, recorder) => {
      const others = cluster.others(primary);
      for (const other of others) await cutLink(primary, other);
      const before = await acknowledgedDuring(recorder, 3);
      await cluster.sql(primary, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
      await eventually("a false acknowledgement", 5, async () => recorder.acknowledged.length > before.length);
      await killHost(primary);
      await cluster.awaitPrimary(others, RECOVER_SECONDS);
      await powerOn([primary]);
    });
    t.true(lost.length > 0, "a cancelled wait has to show as what it is: a false acknowledgement");
  },
);
