/**
 * `npm run prove -- postgres`: each fault of the PostgreSQL cluster TWOFOLD_RUNS times (3), under a writer; after each the primary that is
 * left is read, and every acknowledged label has to be there. What is proved with the real lightningd goes into the survival table, by the
 * ids in the titles. The controls, which must lose, come last: nothing is left of the cluster after them.
 */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import test, { type ExecutionContext } from "ava";
import type { TestId } from "../../components/topology/survival/proofs.ts";
import { setupOf } from "../../components/topology/survival/situation.ts";
import { CLUSTER_PORTS, LIGHTNINGD } from "../../scripts/host/contract.ts";
import { Cluster } from "../faults/cluster.ts";
import { fillDisk } from "../faults/disks.ts";
import { gateSays, nodeAnswers } from "../faults/gate.ts";
import { cutLink, cutPorts, healLinks, slowLink } from "../faults/links.ts";
import type { Machine } from "../faults/machine.ts";
import { cutPower, killHost, powerOn } from "../faults/power.ts";
import { Probe } from "../faults/probe.ts";
import { killLightningd, LightningdWatch, lightningds, pauseHost, resumeHost } from "../faults/processes.ts";
import { Recorder } from "../faults/recorder.ts";
import {
  acknowledgedDuring,
  isolateAndKill,
  RECOVER_SECONDS,
  secondSession,
  sessionsOf,
  underWriter,
  WHOLE_SECONDS,
} from "../faults/under-writer.ts";
import { eventually, Lab } from "../helpers/lab.ts";
import { recordPass } from "../helpers/proofs.ts";

const RUNS = Number(process.env.TWOFOLD_RUNS || 3);
/** Longer than Patroni's ttl, so that a primary that can't renew its lock has lost it. */
const BEYOND_TTL_SECONDS = 30;
/** How long a cluster that must not acknowledge is watched. */
const SILENT_SECONDS = 15;
const PATRONI_SECONDS = 60;
/** A base backup of 30 MB lasts for minutes, a clone too. */
const SLOW_BYTES = 200_000;
const SLOW_BACKUP = "64k";

let cluster: Cluster;
test.before("a cluster of three members", async () => {
  cluster = new Cluster(await Lab.up({ name: "postgres", log: () => {} }));
});
test.after.always(() => cluster?.lab.down());

const word = () => randomBytes(4).toString("hex");

/** Writes the pass down for every id in the title. */
async function recorded(title: string, runs: number): Promise<void> {
  if (process.env.TWOFOLD_LIGHTNINGD_ARCHIVE === undefined) return;
  const { version } = await cluster.lab.rpc<{ version: string }>(cluster.node.name, "getinfo");
  for (const [, id] of title.matchAll(/\[(survival:[a-z-]+)\]/g))
    recordPass(id as TestId, setupOf(cluster.topology), { lightningd: version, runs });
}

/** Makes a run {@link RUNS} times. */
function repeatedly(title: string, run: (t: ExecutionContext) => Promise<void>): void {
  test.serial(title, async (t) => {
    for (let count = 1; count <= RUNS; count++) await run(t);
    await recorded(title, RUNS);
  });
}

type Fault = (primary: Machine, recorder: Recorder) => Promise<void>;

/** Runs a fault {@link RUNS} times under the writer; each time nothing that was acknowledged may be missing. */
function proves(title: string, fault: Fault): void {
  const gaps: string[] = [];
  repeatedly(title, async (t) => {
    const { lost, gap, acknowledged } = await underWriter(cluster, word(), fault);
    t.deepEqual(lost, []);
    gaps.push(gap.toFixed(1));
    t.log(`${acknowledged} acknowledged, none lost; longest gap ${gaps.at(-1)} s`);
  });
}

/** The same with a session of its own on the primary, which stays there when lightningd has left it: it is told of nothing that is lost either. */
function provesOfAnySession(title: string, fault: Fault): void {
  proves(title, async (primary, recorder) => {
    const probe = await Probe.start(cluster, primary);
    await fault(primary, recorder);
    await cluster.whole(WHOLE_SECONDS);
    const lost = await probe.lost(await cluster.primary());
    if (lost.length > 0) throw new Error(`${primary.name} acknowledged what is lost: ${lost.join()}`);
  });
}

/** Acknowledgements stop at once, and none comes for a while. */
async function nothingIsAcknowledged(recorder: Recorder, meanwhile = async () => {}): Promise<void> {
  const [late] = await Promise.all([acknowledgedDuring(recorder, SILENT_SECONDS), meanwhile()]);
  if (late.length > 0) throw new Error(`acknowledged although nothing may be: ${late.join()}`);
}

// Processes and hosts.

proves("kill -9 of the primary's postmaster", (primary) => cluster.killPostmaster(primary));

proves("kill -9 of Patroni alone: nothing moves", async (primary, recorder) => {
  await cluster.killPatroni(primary);
  await recorder.more(20, RECOVER_SECONDS);
  if ((await cluster.primary()).name !== primary.name) throw new Error(`${primary.name} is not primary any more`);
});

proves("the end of the primary's host: another member takes over [survival:primary]", async (primary) => {
  await killHost(primary);
  await cluster.awaitPrimary(cluster.others(primary), RECOVER_SECONDS);
  await powerOn([primary]);
});

proves(
  "the end of the synchronous standby's host: another takes its place [survival:other-host]",
  async (primary, recorder) => {
    const standby = await cluster.synchronous();
    await killHost(standby);
    await recorder.more(20, RECOVER_SECONDS);
    if ((await cluster.primary([primary])).name !== primary.name) throw new Error("the primary has moved");
    await powerOn([standby]);
  },
);

provesOfAnySession(
  "a primary that stands still for a minute acknowledges nothing when it goes on",
  async (primary, recorder) => {
    await pauseHost(primary);
    const next = await cluster.awaitPrimary(cluster.others(primary), RECOVER_SECONDS);
    await acknowledgedDuring(recorder, BEYOND_TTL_SECONDS);
    await resumeHost(primary);
    await follows(primary, next);
  },
);

async function follows(member: Machine, primary: Machine): Promise<void> {
  await eventually(`${member.name} follows ${primary.name}`, WHOLE_SECONDS, async () =>
    (await cluster.list([primary])).some(({ name, state }) => name === member.name && state === "streaming"),
  );
}

// Links.

provesOfAnySession(
  "a primary that is cut off from everyone for longer than its lock lasts",
  async (primary, recorder) => {
    const others = cluster.others(primary);
    for (const other of [...others, cluster.node]) await cutLink(primary, other);
    await cluster.awaitPrimary(others, RECOVER_SECONDS);
    await recorder.more(1, RECOVER_SECONDS);
    await healLinks(primary);
  },
);

provesOfAnySession("a primary that is cut off from the members, and not from lightningd", async (primary, recorder) => {
  const others = cluster.others(primary);
  for (const other of others) await cutLink(primary, other);
  await cluster.awaitPrimary(others, RECOVER_SECONDS);
  await recorder.more(1, RECOVER_SECONDS);
  await healLinks(primary);
});

provesOfAnySession("a primary that is cut off from etcd alone", async (primary, recorder) => {
  const others = cluster.others(primary);
  const { etcdClient, etcdPeer } = CLUSTER_PORTS;
  for (const other of others) await cutPorts(primary, other, [etcdClient, etcdPeer]);
  await cluster.awaitPrimary(others, RECOVER_SECONDS);
  await recorder.more(1, RECOVER_SECONDS);
  await healLinks(primary);
});

proves("the primary cut off from its synchronous standby alone", async (primary, recorder) => {
  await cutLink(primary, await cluster.synchronous());
  await recorder.more(20, RECOVER_SECONDS);
  await healLinks(primary);
});

for (const [direction, words] of [
  ["out", "the primary hears its standbys, and they don't hear it"],
  ["in", "the standbys hear their primary, and it doesn't hear them"],
] as const)
  provesOfAnySession(`one-way loss: ${words}`, async (primary, recorder) => {
    for (const other of cluster.others(primary)) await cutLink(primary, other, direction);
    await acknowledgedDuring(recorder, BEYOND_TTL_SECONDS);
    await healLinks(primary);
  });

proves(
  "the node cut off from the cluster: it stands still until the link is back [survival:network]",
  async (_primary, recorder) => {
    for (const member of cluster.members) await cutLink(cluster.node, member);
    // A commit whose acknowledgement was already on its way.
    await acknowledgedDuring(recorder, 1);
    await nothingIsAcknowledged(recorder);
    await healLinks(cluster.node);
  },
);

// Disks.

/** The members' data has to lie on disks that a cut reaches. */
function cutMembers(members: Machine[]): Promise<unknown> {
  for (const member of members) cluster.volume(member);
  return cutPower(members);
}

proves("a power cut of the primary's disks", async (primary, recorder) => {
  await cutMembers([primary]);
  await cluster.awaitPrimary(cluster.others(primary), RECOVER_SECONDS);
  await recorder.more(1, RECOVER_SECONDS);
  await powerOn([primary]);
});

proves("a power cut of primary and synchronous standby at one instant", async (primary, recorder) => {
  const both = [primary, await cluster.synchronous()];
  await cutMembers(both);
  await nothingIsAcknowledged(recorder);
  await powerOn(both);
});

proves("a power cut of all three members at one instant", async (_primary, recorder) => {
  await cutMembers(cluster.members);
  await nothingIsAcknowledged(recorder);
  await powerOn(cluster.members);
});

/** Cuts the power of hosts among which is the node's; its writer ends with it. */
async function withTheNode(t: ExecutionContext, cut: () => Promise<unknown>, hosts: Machine[]): Promise<void> {
  await cluster.whole(WHOLE_SECONDS);
  const recorder = await Recorder.start(cluster.node, cluster.topology, word());
  try {
    await recorder.more(20, RECOVER_SECONDS);
    await cut();
  } finally {
    await recorder.stop();
  }
  await powerOn(hosts);
  const present = new Set(await nodeAnswers(cluster.node, cluster.topology, WHOLE_SECONDS));
  t.deepEqual(
    recorder.acknowledged.filter(({ label }) => !present.has(label)),
    [],
  );
}

repeatedly("a power cut of the node's host: it comes back by itself [survival:power-node]", (t) =>
  withTheNode(t, () => cutPower([cluster.node]), [cluster.node]),
);

repeatedly("a power cut of all hosts at one instant: all comes back by itself [survival:power-all]", (t) => {
  const hosts = [cluster.node, ...cluster.members];
  return withTheNode(t, () => cutMembers(cluster.members.concat(cluster.node)), hosts);
});

proves(
  "the disk of the primary's log is full: another member takes over, or it goes on when there is room again",
  async (primary) => {
    const makeRoom = await fillDisk(primary, cluster.volume(primary));
    try {
      // Its log has segments in stock; with the last of them it ends.
      await eventually("the primary has no room for its log", RECOVER_SECONDS, async () => {
        const { status } = await cluster.lab.tryExec(
          primary.name,
          ...["runuser", "--user", "postgres", "--", "psql", "--no-psqlrc", "--command=SELECT pg_switch_wal()"],
        );
        return status !== 0;
      });
      await cluster.awaitPrimary(cluster.others(primary), RECOVER_SECONDS);
    } finally {
      await makeRoom();
    }
  },
);

repeatedly("a start without the node's volume waits until it is mounted [survival:unmounted]", async (t) => {
  const { node } = cluster;
  const mount = cluster.volume(node);
  await node.exec("systemctl", "stop", LIGHTNINGD.unit);
  await node.exec("umount", mount);
  const since = Date.now();
  // The unit mounts what it wants; a start by which nothing is mounted is one whose mount failed.
  await node.exec("systemctl", "start", "--no-block", "--job-mode=ignore-dependencies", LIGHTNINGD.unit);
  const gate = await gateSays(node, since, RECOVER_SECONDS);
  t.deepEqual([gate.verdict, gate.code], ["wait", "NOT_MOUNTED"]);
  t.deepEqual(await lightningds(node), []);
  await node.exec("mount", mount);
  await nodeAnswers(node, cluster.topology, RECOVER_SECONDS);
});

// Standbys and etcd.

/** Ends all standbys, and returns when the primary has none. */
async function endStandbys(primary: Machine): Promise<void> {
  const standbys = cluster.others(primary);
  // And not with their hosts: etcd keeps its majority, so the primary stays primary.
  for (const standby of standbys) await cluster.killMember(standby);
  await eventually(
    "the primary has no standby",
    PATRONI_SECONDS,
    async () => (await cluster.receivers(primary)).length === 0,
  );
}

proves("without any standby nothing is acknowledged, and all goes on when one is back", async (primary, recorder) => {
  await endStandbys(primary);
  await nothingIsAcknowledged(recorder);
  for (const standby of cluster.others(primary)) await cluster.startMember(standby);
});

proves("without any standby nothing is acknowledged while a base backup runs", async (primary, recorder) => {
  await endStandbys(primary);
  const [standby] = cluster.others(primary);
  if (standby === undefined) throw new Error("the cluster has one member");
  const backup = cluster.baseBackup(standby, primary, { rate: SLOW_BACKUP, seconds: SILENT_SECONDS + 60 });
  await eventually(
    "a base backup receives the primary's log",
    60,
    async () => (await cluster.receivers(primary)).length >= 2,
  );
  await nothingIsAcknowledged(recorder);
  if ((await cluster.receivers(primary)).length < 2) throw new Error("the base backup has ended before the look");
  await backup.end();
  for (const each of cluster.others(primary)) await cluster.startMember(each);
});

proves("one member of etcd dead: nothing stops", async (primary, recorder) => {
  const [other] = cluster.others(primary);
  if (other === undefined) throw new Error("the cluster has one member");
  await cluster.stopEtcd(other);
  await recorder.more(20, RECOVER_SECONDS);
  if ((await cluster.primary()).name !== primary.name) throw new Error("the primary has moved");
  await cluster.startEtcd(other);
});

proves("two members of etcd dead: read-only, and all comes back", async (primary, recorder) => {
  const others = cluster.others(primary);
  for (const other of others) await cluster.stopEtcd(other);
  await eventually("no member takes writes", BEYOND_TTL_SECONDS + PATRONI_SECONDS, async () => {
    const readOnly = await Promise.all(cluster.members.map((member) => cluster.isReadOnly(member)));
    return readOnly.every(Boolean);
  });
  await nothingIsAcknowledged(recorder);
  if ((await cluster.labels(primary)).size === 0) throw new Error("the wallet can't be read");
  for (const other of others) await cluster.startEtcd(other);
});

proves("a standby that is wiped and cloned while the primary's host ends is not promoted", async (primary) => {
  const standby = await cluster.synchronous();
  const spare = cluster.others(primary).find((member) => member !== standby);
  if (spare === undefined) throw new Error("the cluster has no third member");
  await cluster.killMember(spare);
  await slowLink(spare, primary, SLOW_BYTES);
  await spare.exec("rm", "--recursive", cluster.dataDirectory(spare));
  await cluster.startMember(spare);
  await eventually(`${spare.name} is being cloned`, PATRONI_SECONDS, async () =>
    (await cluster.receivers(primary)).includes("pg_basebackup"),
  );
  await killHost(primary);
  const next = await cluster.awaitPrimary(cluster.others(primary), RECOVER_SECONDS);
  await healLinks(spare);
  await powerOn([primary]);
  if (next.name !== standby.name) throw new Error(`${next.name} was promoted, ${standby.name} was synchronous`);
});

// What lightningd may act on.

proves("the primary's host ends while lightningd starts", async (primary) => {
  const old = await sessionsOf(cluster, primary);
  await killLightningd(cluster.node);
  await eventually(
    "a new lightningd has opened its database",
    RECOVER_SECONDS,
    async () => (await sessionsOf(cluster, primary)).some((pid) => !old.includes(pid)),
    1,
  );
  await killHost(primary);
  await cluster.awaitPrimary(cluster.others(primary), RECOVER_SECONDS);
  await powerOn([primary]);
});

repeatedly(
  "a commit that waited for its standby is not acted on before a standby has it, nor when a failover has lost it",
  async (t) => {
    await cluster.whole(WHOLE_SECONDS);
    const primary = await cluster.primary();
    const others = cluster.others(primary);
    for (const other of others) await cutPorts(primary, other, [CLUSTER_PORTS.postgres]);
    const seed = word();
    const recorder = await Recorder.start(cluster.node, cluster.topology, seed, undefined, RECOVER_SECONDS);
    try {
      const waits = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'alice' AND wait_event = 'SyncRep'";
      await eventually(
        "a commit waits",
        PATRONI_SECONDS,
        async () => (await cluster.sql(primary, waits)).trim() === "1",
      );
      const since = Date.now();
      await cluster.killPostmaster(primary);
      // After its restart the primary shows what only it has.
      const waited = await eventually("the primary shows the commit that waited", PATRONI_SECONDS, async () => {
        const shown = [...(await cluster.labels(primary))].filter((label) => label.startsWith(`${seed}-`));
        return shown.length > 0 && shown;
      });
      t.deepEqual(recorder.acknowledged, []);
      const gate = await gateSays(cluster.node, since, RECOVER_SECONDS);
      t.is(gate.verdict, "wait", gate.code);
      await nothingIsAcknowledged(recorder, async () => {
        const until = Date.now() + SILENT_SECONDS * 1000;
        await eventually("the watch is over", SILENT_SECONDS + 10, async () => {
          t.deepEqual(await lightningds(cluster.node), []);
          return Date.now() > until;
        });
      });
      await killHost(primary);
      const next = await cluster.awaitPrimary(others, RECOVER_SECONDS);
      await powerOn([primary]);
      await recorder.more(20, RECOVER_SECONDS);
      const present = await cluster.labels(next);
      t.deepEqual(
        waited.filter((label) => present.has(label)),
        [],
      );
      t.deepEqual(
        recorder.acknowledged.filter(({ label }) => !present.has(label)),
        [],
      );
      t.log(`${waited.length} commit was in one place only; the gate said ${gate.code}`);
    } finally {
      await recorder.stop();
    }
  },
);

test.serial(
  "a wait that a superuser cancels is acknowledged in one place only, and the node's role can't cancel it",
  async (t) => {
    await cluster.whole(WHOLE_SECONDS);
    let shown = "";
    const { lost } = await underWriter(cluster, word(), async (primary, recorder) => {
      const others = cluster.others(primary);
      for (const other of others) await cutLink(primary, other);
      await acknowledgedDuring(recorder, 3);
      const before = recorder.acknowledged.length;
      await cluster.sql(primary, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
      await eventually("a false acknowledgement", 5, async () => recorder.acknowledged.length > before);
      shown = await primary.exec("journalctl", "--unit", "patroni", "--boot", "--no-pager", "--output", "cat");
      await killHost(primary);
      await cluster.awaitPrimary(others, RECOVER_SECONDS);
      await powerOn([primary]);
    });
    t.true(lost.length > 0, "a cancelled wait has to show as what it is: a false acknowledgement");
    t.regex(shown, /might not have been replicated/);

    await cluster.whole(WHOLE_SECONDS);
    await cluster.node.exec("systemctl", "stop", LIGHTNINGD.unit);
    const ask = (statement: string) => secondSession(cluster, "alice", statement);
    for (const [setting, value] of [
      ["synchronous_commit", "on"],
      ["statement_timeout", "0"],
      ["transaction_timeout", "0"],
    ] as const)
      t.is(
        await eventually("the role's session", 30, async () => {
          const ran = await ask(`SHOW ${setting}`);
          return ran.status === 0 && ran.stdout.trim();
        }),
        value,
        setting,
      );
    const others = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender' LIMIT 1";
    t.regex((await ask(others)).stderr, /permission denied to cancel query/);
    await cluster.node.exec("systemctl", "start", "--no-block", LIGHTNINGD.unit);
    await nodeAnswers(cluster.node, cluster.topology, RECOVER_SECONDS);
  },
);

repeatedly(
  "a second lightningd on the same database is refused by the server, and the first goes on [survival:second-start]",
  async (t) => {
    await cluster.whole(WHOLE_SECONDS);
    const { node } = cluster;
    const [first] = await lightningds(node);
    const { lost } = await underWriter(cluster, word(), async () => {
      const directory = `/tmp/second-${word()}`;
      const secret = "/srv/lightning/lightning/regtest/hsm_secret";
      await node.exec("install", "--directory", "--owner=bitcoin", "--mode=0700", directory, `${directory}/regtest`);
      await node.exec("cp", "--preserve", secret, `${directory}/regtest/hsm_secret`);
      const config = (await node.exec("cat", LIGHTNINGD.config)).replace(
        /^lightning-dir=.*$/m,
        `lightning-dir=${directory}`,
      );
      writeFileSync(await node.path(`${directory}/config`), config);
      const words = ["runuser", "--user", "bitcoin", "--", "timeout", "60", `${LIGHTNINGD.programs}/lightningd`];
      const ran = await cluster.lab.tryExec(node.name, ...words, `--conf=${directory}/config`);
      t.regex(ran.stdout + ran.stderr, /too many connections for role "alice"/);
      t.not(ran.status, 0);
      t.not(ran.status, 124, "it was still at it after a minute");
      await node.exec("rm", "--recursive", directory);
    });
    t.deepEqual(lost, []);
    t.deepEqual(await lightningds(node), [first]);
  },
);

test.serial("while the node's role is logged in from elsewhere, the gate waits and says who it is", async (t) => {
  const { node } = cluster;
  await node.exec("systemctl", "stop", LIGHTNINGD.unit);
  const primary = await cluster.primary();
  await eventually("the role has no session", 30, async () => (await sessionsOf(cluster, primary)).length === 0);
  const stranger = secondSession(cluster, "alice", "SELECT pg_sleep(600)");
  await eventually("a stranger is logged in", 30, async () => (await sessionsOf(cluster, primary)).length === 1);
  const since = Date.now();
  await node.exec("systemctl", "start", "--no-block", LIGHTNINGD.unit);
  const gate = await gateSays(node, since, 60);
  t.deepEqual([gate.verdict, gate.code], ["wait", "PG_IN_USE"]);
  t.deepEqual(await lightningds(node), []);
  const [pid = ""] = await sessionsOf(cluster, primary);
  await cluster.sql(primary, `SELECT pg_terminate_backend(${pid})`);
  t.not((await stranger).status, 0);
  await nodeAnswers(node, cluster.topology, RECOVER_SECONDS);
});

test.serial(
  "twenty failovers in a row: the unit is still active, nothing is lost, and no two lightningds ever ran",
  async (t) => {
    const watch = await LightningdWatch.start(cluster.node);
    for (let failover = 1; failover <= 20; failover++) {
      const { lost } = await underWriter(cluster, word(), async (primary) => {
        await cluster.killMember(primary);
        await cluster.awaitPrimary(cluster.others(primary), RECOVER_SECONDS);
        await cluster.startMember(primary);
      });
      t.deepEqual(lost, [], `failover ${failover}`);
    }
    await watch.stop();
    t.true(watch.seen > 0);
    t.deepEqual(watch.doubles, []);
    t.is((await cluster.node.exec("systemctl", "is-active", LIGHTNINGD.unit)).trim(), "active");
  },
);

// Verbs.

test.serial("reinit makes a standby anew from the primary, and refuses the primary", async (t) => {
  await cluster.whole(WHOLE_SECONDS);
  const primary = await cluster.primary();
  const [standby] = cluster.others(primary);
  if (standby === undefined) throw new Error("the cluster has one member");
  const refused = await cluster.lab.verb("reinit", "--yes", primary.name);
  t.is(refused.status, 3);
  t.regex(refused.stderr, /is the primary/);
  const asked = await cluster.lab.verb("reinit", standby.name);
  t.is(asked.status, 3, "without a terminal there is nobody to ask");
  const marker = `${cluster.dataDirectory(standby)}/of-before`;
  await standby.exec("touch", marker);
  const { lost } = await underWriter(cluster, word(), async () => {
    const ran = await cluster.lab.verb("reinit", "--yes", standby.name);
    t.is(ran.status, 0, ran.stderr);
  });
  t.deepEqual(lost, []);
  t.not((await cluster.lab.tryExec(standby.name, "test", "-e", marker)).status, 0, "its data is what it was before");
});

test.serial(
  "failover promotes a member that Patroni would not, says what that may cost, and refuses beside a primary",
  async (t) => {
    await cluster.whole(WHOLE_SECONDS);
    const primary = await cluster.primary();
    const standby = await cluster.synchronous();
    const spare = cluster.others(primary).find((member) => member !== standby);
    if (spare === undefined) throw new Error("the cluster has no third member");
    const early = await cluster.lab.verb("failover", "--yes", spare.name);
    t.is(early.status, 3, early.stderr);
    t.regex(early.stderr, /the cluster has a primary that runs/);

    await cluster.lab.invoice(cluster.node.name, `before-${word()}`);
    await cluster.killMember(standby);
    await cluster.killMember(primary);
    await eventually("the lock of the primary has ended", BEYOND_TTL_SECONDS + PATRONI_SECONDS, async () =>
      (await cluster.list([spare])).every(({ role }) => role !== "leader"),
    );
    t.true(await cluster.isReadOnly(spare), "Patroni itself promotes no member that was not synchronous");
    const asked = await cluster.lab.verb("failover", spare.name);
    t.is(asked.status, 3, "without a terminal there is nobody to ask");
    const ran = await cluster.lab.verb("failover", "--yes", spare.name);
    t.is(ran.status, 0, ran.stderr);
    t.regex(ran.stderr, new RegExp(`${spare.name} IS NOT SYNCHRONOUS`));
    t.regex(ran.stderr, /witness: data_version \d+ or more/);
    t.regex(ran.stderr, /is lost for good/);
    t.is(ran.stdout, `primary: ${spare.name}\n`);
    t.log(ran.stderr);
    for (const member of [primary, standby]) await cluster.startMember(member);
    await cluster.whole(WHOLE_SECONDS);
    await nodeAnswers(cluster.node, cluster.topology, RECOVER_SECONDS);
  },
);

test.serial(
  "a member's host that was lost for good is made anew by the next up, and forgotten under its old number",
  async (t) => {
    await cluster.whole(WHOLE_SECONDS);
    const [dead] = cluster.others(await cluster.primary());
    if (dead === undefined) throw new Error("the cluster has one member");
    const [before, meanwhile] = [`before-${word()}`, `meanwhile-${word()}`];
    await cluster.lab.invoice(cluster.node.name, before);
    await cluster.lab.docker("rm", "--force", dead.container);
    await cluster.lab.invoice(cluster.node.name, meanwhile);
    await cluster.lab.again();
    await cluster.whole(WHOLE_SECONDS);
    const present = await cluster.labels(dead);
    t.true(present.has(before) && present.has(meanwhile));
    const checked = await cluster.lab.verb("check");
    t.is(checked.status, 0, checked.stdout + checked.stderr);
  },
);

// Controls, which must lose, and what puts the cluster right after them.

test.serial(
  "the control: with asynchronous replication a primary that is alone when its host ends loses what it acknowledged",
  async (t) => {
    await cluster.whole(WHOLE_SECONDS);
    await cluster.configure({ synchronous_mode: false });
    await eventually("the primary waits for nobody", 30, async () => {
      const names = await cluster.sql(await cluster.primary(), "SHOW synchronous_standby_names");
      return names.trim() === "";
    });
    const { alone, lost } = await isolateAndKill(cluster, word(), { synchronous: false });
    t.true(alone.length > 0, "the control has to acknowledge what no standby has");
    t.true(lost.length > 0, "the control has to lose");
    t.log(`${lost.length} acknowledged invoices were lost`);
  },
);

test.serial("repair puts back what the control switched off", async (t) => {
  await cluster.whole(WHOLE_SECONDS, false);
  const ran = await cluster.lab.verb("repair", "--yes");
  t.is(ran.status, 0, ran.stderr);
  t.regex(ran.stderr + ran.stdout, /patroni:alice/);
  await cluster.whole(WHOLE_SECONDS);
  const checked = await cluster.lab.verb("check");
  t.is(checked.status, 0, checked.stdout + checked.stderr);
});

test.serial("the control: without fsync a power cut of all members loses what was acknowledged", async (t) => {
  await cluster.whole(WHOLE_SECONDS);
  await cluster.configure({ "postgresql.parameters.fsync": "off" });
  await eventually("no member waits for its disk", 60, async () => {
    const shown = await Promise.all(cluster.members.map((member) => cluster.sql(member, "SHOW fsync")));
    return shown.every((each) => each.trim() === "off");
  });
  const recorder = await Recorder.start(cluster.node, cluster.topology, word());
  try {
    await recorder.more(200, RECOVER_SECONDS);
    await cutMembers(cluster.members);
  } finally {
    await recorder.stop();
  }
  await powerOn(cluster.members);
  // Where the data can't even be started from, all of it is lost.
  const primary = await cluster.awaitPrimary(cluster.members, RECOVER_SECONDS).catch(() => undefined);
  const present = primary === undefined ? new Set<string>() : await cluster.labels(primary);
  const lost = recorder.acknowledged.filter(({ label }) => !present.has(label));
  t.true(lost.length > 0, "the control has to lose");
  t.log(
    `${lost.length} of ${recorder.acknowledged.length} acknowledged invoices were lost${primary === undefined ? ", with all the rest: no member starts" : ""}`,
  );
});
