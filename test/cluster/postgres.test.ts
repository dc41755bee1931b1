/**
 * The wallet in PostgreSQL under a writer, a short run of `npm run prove -- postgres`: whatever ends, every invoice that was acknowledged is
 * in the primary that is left.
 */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import test from "ava";
import { tlsFiles } from "../../scripts/host/contract.ts";
import { Cluster } from "../faults/cluster.ts";
import type { Machine } from "../faults/machine.ts";
import { killHost, powerOn } from "../faults/power.ts";
import { lightningd } from "../faults/processes.ts";
import { isolateAndKill, secondSession, underWriter, WHOLE_SECONDS } from "../faults/under-writer.ts";
import { eventually, Lab } from "../helpers/lab.ts";

let cluster: Cluster;

test.before("a cluster of three members", async () => {
  cluster = new Cluster(await Lab.up({ name: "postgres", log: () => {} }));
});
test.after.always(() => cluster?.lab.down());

test.serial(
  "a new cluster is as declared, and status shows its members, how long a commit takes, and the certificates",
  async (t) => {
    const checked = await cluster.lab.verb("check");
    t.is(checked.status, 0, checked.stdout + checked.stderr);
    const { stdout } = await cluster.lab.verb("status");
    for (const said of [
      /: primary, running, timeline \d/,
      /: synchronous standby, streaming, timeline \d/,
      /1 must have flushed a commit before it counts/,
      /a commit is flushed: .*after [\d.]+ ms \(commits wait for it\)/,
      /wallet here: data_version \d+, log up to /,
      /certificate node: good for \d+ days/,
    ])
      t.regex(stdout, said);
    await cluster.lab.invoice(cluster.node.name, "first");
    t.true((await cluster.labels(await cluster.primary())).has("first"));
  },
);

test.serial("refuses a second session of the node's role, and another role with the node's certificate", async (t) => {
  const second = await secondSession(cluster, "alice");
  t.not(second.status, 0);
  t.regex(second.stderr, /too many connections for role "alice"/);
  const other = await secondSession(cluster, "replicator");
  t.not(other.status, 0);
  t.regex(other.stderr, /no pg_hba.conf entry|certificate authentication failed/);
});

test.serial(
  "certificates are renewed while lightningd runs on, and the new ones are those that are shown",
  async (t) => {
    const before = await lightningd(cluster.node);
    const files = [
      ...cluster.members.flatMap((host) => (["etcd", "postgres"] as const).map((role) => ({ host, role }))),
      { host: cluster.node, role: "node" as const },
    ];
    const serials = () =>
      Promise.all(
        files.map(async ({ host, role }) => {
          const text = readFileSync(await host.path(tlsFiles(role).certificate));
          return new X509Certificate(text).serialNumber;
        }),
      );
    const old = await serials();
    const { lost } = await underWriter(cluster, "certificates", async () => {
      const ran = await cluster.lab.verb("certificates", "renew");
      t.is(ran.status, 0, ran.stderr);
    });
    t.deepEqual(lost, []);
    t.is(await lightningd(cluster.node), before, "lightningd was not to be restarted");
    const renewed = await serials();
    t.deepEqual(
      renewed.filter((serial, index) => serial === old[index]),
      [],
    );
    for (const member of cluster.members)
      for (const [port, role] of [
        [8008, "postgres"],
        [2379, "etcd"],
      ] as const)
        await eventually(`port ${port} of ${member.name} shows its new certificate`, 30, async () => {
          const shown = await cluster.shownSerial(member, port);
          return shown === renewed[files.findIndex(({ host, role: its }) => host === member && its === role)];
        });
  },
);

test.serial("a switchover under the writer loses nothing, and the verb says who is primary then", async (t) => {
  let said = "";
  const { lost, gap } = await underWriter(cluster, "switchover", async (primary) => {
    const ran = await cluster.lab.verb("switchover");
    t.is(ran.status, 0, ran.stderr);
    said = ran.stdout;
    t.false(said.includes(primary.name));
  });
  t.deepEqual(lost, []);
  t.is(said, `primary: ${(await cluster.primary()).name}\n`);
  t.log(`${gap.toFixed(1)} s between two acknowledgements`);
});

test.serial("kill -9 of the primary's postmaster loses nothing", async (t) => {
  const { lost, gap } = await underWriter(cluster, "postmaster", (primary) => cluster.killPostmaster(primary));
  t.deepEqual(lost, []);
  t.log(`${gap.toFixed(1)} s between two acknowledgements`);
});

test.serial("the end of the primary's host loses nothing: another member takes over", async (t) => {
  let dead: Machine | undefined;
  const { lost, gap } = await underWriter(cluster, "host", async (primary) => {
    dead = primary;
    await killHost(primary);
  });
  t.deepEqual(lost, []);
  t.not((await cluster.primary()).name, dead?.name);
  t.log(`${gap.toFixed(1)} s between two acknowledgements`);
  if (dead) await powerOn([dead]);
});

test.serial("a primary cut off from its standbys acknowledges nothing, and what it did before is there", async (t) => {
  const { alone, lost } = await isolateAndKill(cluster, "cut");
  // One that was already on its way back when the link went.
  t.true(alone.length <= 1, alone.join());
  t.deepEqual(lost, []);
});

test.serial("the control: with asynchronous replication the same loses what was acknowledged", async (t) => {
  await cluster.whole(WHOLE_SECONDS);
  await cluster.configure({ synchronous_mode: false });
  await eventually("the primary waits for nobody", 30, async () => {
    const names = await cluster.sql(await cluster.primary(), "SHOW synchronous_standby_names");
    return names.trim() === "";
  });
  const { alone, lost } = await isolateAndKill(cluster, "control", { synchronous: false });
  t.true(alone.length > 0, "the control has to acknowledge what no standby has");
  t.true(lost.length > 0, "the control has to lose");
  t.log(`${lost.length} acknowledged invoices were lost`);
});
