/** What lightningd may act on, and that there is one of it. */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { parse, stringify } from "yaml";
import { CLUSTER_PORTS, LIGHTNINGD } from "../../../scripts/host/contract.ts";
import { awaitAlert } from "../../faults/alerts.ts";
import { gateSays, nodeAnswers } from "../../faults/gate.ts";
import { cutPorts, healLinks } from "../../faults/links.ts";
import { local } from "../../faults/machine.ts";
import { killHost, powerOn } from "../../faults/power.ts";
import { killLightningd, LightningdWatch, lightningds } from "../../faults/processes.ts";
import { Recorder } from "../../faults/recorder.ts";
import { RECOVER_SECONDS, secondSession, sessionsOf, underWriter, WHOLE_SECONDS } from "../../faults/under-writer.ts";
import { eventually } from "../../helpers/lab.ts";
import {
  BEYOND_TTL_SECONDS,
  cluster,
  nothingIsAcknowledged,
  PATRONI_SECONDS,
  proves,
  repeatedly,
  SILENT_SECONDS,
  word,
} from "./sentences.ts";

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
    const standby = await cluster.synchronous();
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
      // Patroni knows that it had no standby, so it promotes nobody by itself; an operator does, who has given that host up.
      await eventually("the primary's lock has ended", BEYOND_TTL_SECONDS + PATRONI_SECONDS, async () =>
        (await cluster.list(others)).every(({ role }) => role !== "leader"),
      );
      const failover = await cluster.lab.verb("failover", "--yes", standby.name);
      t.is(failover.status, 0, failover.stderr);
      await recorder.more(20, RECOVER_SECONDS);
      const acknowledged = [...recorder.acknowledged];
      const present = await cluster.labels(standby);
      t.deepEqual(
        waited.filter((label) => present.has(label)),
        [],
      );
      t.deepEqual(
        acknowledged.filter(({ label }) => !present.has(label)),
        [],
      );
      t.log(`${waited.length} commit was in one place only; the gate said ${gate.code}`);
    } finally {
      await recorder.stop();
      if ((await primary.pid()) === 0) await powerOn([primary]);
    }
  },
);

repeatedly(
  "a wait that a superuser cancels is acknowledged in one place only, and the node's role can't cancel it",
  async (t) => {
    await cluster.whole(WHOLE_SECONDS);
    await underWriter(cluster, word(), async (primary, recorder) => {
      const others = cluster.others(primary);
      // And not etcd's ports: a primary without etcd gives up, which is another fault.
      for (const other of others) await cutPorts(primary, other, [CLUSTER_PORTS.postgres]);
      const cancel =
        "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE usename = 'alice' AND wait_event = 'SyncRep'";
      const cancelled = async () => {
        const before = recorder.acknowledged.length;
        let waits = 0;
        // lightningd commits more than invoices, and each of them waits.
        await eventually("a cancelled wait is acknowledged", PATRONI_SECONDS, async () => {
          waits += Number(await cluster.sql(primary, cancel));
          return waits > 0 && recorder.acknowledged.length > before;
        });
        return recorder.acknowledged[before]?.label ?? "";
      };
      // Of the first the standby may have the log, and only its answer was cut.
      await cancelled();
      const label = await cancelled();
      t.true((await cluster.labels(primary)).has(label));
      for (const other of others) t.false((await cluster.labels(other)).has(label), `${other.name} has it too`);
      const shown = await primary.exec("journalctl", "--unit", "patroni", "--boot", "--no-pager", "--output", "cat");
      t.regex(shown, /canceling wait for synchronous replication due to user request/);
      const alert = await awaitAlert(primary, "PG_CANCELLED_WAIT", PATRONI_SECONDS);
      t.log(`the alert: ${alert.value}`);
      await healLinks(primary);
    });

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
    // Of other roles' sessions it sees little more than whose they are.
    const others = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'replicator' LIMIT 1";
    const refused = await ask(others);
    t.regex(refused.stderr, /permission denied to cancel query/, `status ${refused.status}: ${refused.stdout}`);
    await cluster.node.exec("systemctl", "start", "--no-block", LIGHTNINGD.unit);
    await nodeAnswers(cluster.node, cluster.topology, RECOVER_SECONDS);
  },
  1,
);

repeatedly(
  "a second lightningd on the same database is refused by the server, and the first goes on [survival:second-start]",
  async (t) => {
    await cluster.whole(WHOLE_SECONDS);
    const { node } = cluster;
    let first: number | undefined;
    const { lost } = await underWriter(cluster, word(), async () => {
      [first] = await lightningds(node);
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
  "an up refuses a lightningd that was built without libpq, and the node goes on with the one it has",
  async (t) => {
    const { lab, node } = cluster;
    const before = await lightningds(node);
    const directory = await mkdtemp(join(tmpdir(), "twofold-libpq-"));
    try {
      // Laid out as a release, each program an ELF file without libpq.
      await mkdir(join(directory, "usr/bin"), { recursive: true });
      for (const name of ["lightningd", "lightning-cli", "lightning-hsmtool"])
        await copyFile("/bin/true", join(directory, "usr/bin", name));
      const archive = join(directory, "without.tar");
      await local("tar", "--create", "--file", archive, "--directory", directory, "usr");
      const sha256 = createHash("sha256").update(readFileSync(archive)).digest("hex");
      const config = parse(readFileSync(lab.facts.configFile, "utf8"));
      config.config["twofold:node"].lightningd = { archive, sha256 };
      const configFile = join(directory, "Pulumi.without.yaml");
      writeFileSync(configFile, stringify(config));
      const ran = await lab.tryUp({ configFile });
      t.not(ran.status, 0);
      t.regex(ran.stdout + ran.stderr, /not linked with libpq/);
    } finally {
      await rm(directory, { recursive: true });
    }
    t.deepEqual(await lightningds(node), before);
    await lab.up();
    t.deepEqual(await lightningds(node), before);
  },
);

test.serial(
  "twenty failovers in a row: the unit is still active, nothing is lost, and no two lightningds ever ran",
  async (t) => {
    const watch = await LightningdWatch.start(cluster.node);
    try {
      for (let failover = 1; failover <= 20; failover++) {
        const { lost } = await underWriter(cluster, word(), async (primary) => {
          await cluster.killMember(primary);
          await cluster.awaitPrimary(cluster.others(primary), RECOVER_SECONDS);
          await cluster.startMember(primary);
        });
        t.deepEqual(lost, [], `failover ${failover}`);
      }
    } finally {
      await watch.stop();
    }
    t.true(watch.seen > 0);
    t.deepEqual(watch.doubles, []);
    t.is((await cluster.node.exec("systemctl", "is-active", LIGHTNINGD.unit)).trim(), "active");
  },
);
