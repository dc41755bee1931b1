/** The wallet in PostgreSQL under a writer: whatever ends, every invoice that was acknowledged is in the primary that is left. */
import test from "ava";
import { Cluster } from "../faults/cluster.ts";
import type { Machine } from "../faults/machine.ts";
import { killHost, powerOn } from "../faults/power.ts";
import { isolateAndKill, underWriter, WHOLE_SECONDS } from "../faults/under-writer.ts";
import { eventually, Lab } from "../helpers/lab.ts";

let cluster: Cluster;

test.before(async () => {
  cluster = new Cluster(await Lab.up({ name: "postgres", log: () => {} }));
});
test.after.always(() => cluster?.lab.down());

test.serial("a new cluster is as declared, shows who is synchronous, and holds the node's own wallet", async (t) => {
  const checked = await cluster.lab.verb("check");
  t.is(checked.status, 0, checked.stdout + checked.stderr);
  const { stdout } = await cluster.lab.verb("status");
  t.regex(stdout, /synchronous standby, streaming/);
  t.regex(stdout, /1 must have flushed a commit before it counts/);
  await cluster.lab.invoice(cluster.node.name, "first");
  t.true((await cluster.labels(await cluster.primary())).has("first"));
});

test.serial("refuses a second session of the node's role, and a role without the node's certificate", async (t) => {
  const connect = (user: string, role: string) =>
    cluster.lab.tryExec(
      cluster.node.name,
      ...["runuser", "--user", user, "--", "psql", "--no-psqlrc", "--command=SELECT 1"],
      `--dbname=host=${cluster.members.map(({ name }) => name).join(",")} target_session_attrs=read-write dbname=alice user=${role} sslmode=verify-full sslrootcert=/etc/twofold/tls/ca.crt sslcert=/etc/twofold/tls/node.crt sslkey=/etc/twofold/tls/node.key`,
    );
  const second = await connect("bitcoin", "alice");
  t.not(second.status, 0);
  t.regex(second.stderr, /too many connections for role "alice"/);
  const other = await connect("bitcoin", "replicator");
  t.not(other.status, 0);
  t.regex(other.stderr, /no pg_hba.conf entry|certificate authentication failed/);
});

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

test.serial("kill -9 of Patroni on the primary loses nothing, and moves nothing", async (t) => {
  let before: string | undefined;
  const { lost, gap } = await underWriter(cluster, "patroni", async (primary) => {
    before = primary.name;
    await cluster.killPatroni(primary);
  });
  t.deepEqual(lost, []);
  t.true((await cluster.primary()).name === before);
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

test.serial("repair puts back what the control switched off", async (t) => {
  await cluster.whole(WHOLE_SECONDS, false);
  const ran = await cluster.lab.verb("repair", "--yes");
  t.is(ran.status, 0, ran.stderr);
  t.regex(ran.stderr + ran.stdout, /patroni:alice/);
  await cluster.whole(WHOLE_SECONDS);
  const checked = await cluster.lab.verb("check");
  t.is(checked.status, 0, checked.stdout + checked.stderr);
});

test.serial(
  "a member's host that was lost for good is made anew by the next up, and forgotten under its old number",
  async (t) => {
    const dead = cluster.others(await cluster.primary())[0];
    if (dead === undefined) throw new Error("the cluster has one member");
    await cluster.lab.invoice(cluster.node.name, "before");
    await cluster.lab.docker("rm", "--force", dead.container);
    await cluster.lab.invoice(cluster.node.name, "meanwhile");
    await cluster.lab.again();
    await cluster.whole(WHOLE_SECONDS);
    const present = await cluster.labels(dead);
    t.true(present.has("before") && present.has("meanwhile"));
    const checked = await cluster.lab.verb("check");
    t.is(checked.status, 0, checked.stdout + checked.stderr);
  },
);
