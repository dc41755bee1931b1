/**
 * How long lightningd acknowledges nothing when its primary moves, and what these seconds are made of; then how long a commit takes. Each gap
 * lies between two acknowledged invoices; the journals of node and members say what happened in it, by one clock, since all hosts are on this
 * machine.
 */
import { loadavg } from "node:os";
import test, { type ExecutionContext } from "ava";
import { LIGHTNINGD } from "../../scripts/host/contract.ts";
import { Cluster } from "../faults/cluster.ts";
import type { Machine } from "../faults/machine.ts";
import { killHost, powerOn } from "../faults/power.ts";
import type { Acknowledged } from "../faults/recorder.ts";
import { socketOf } from "../faults/recorder.ts";
import { underWriter, WHOLE_SECONDS } from "../faults/under-writer.ts";
import { eventually, Lab } from "../helpers/lab.ts";
import { LightningdClient } from "../helpers/lightningd-client.ts";
import { outputOf } from "../helpers/run-program.ts";
import { write } from "./lightningd-on.ts";
import { inTurns, median, table } from "./paired.ts";

const ROUNDS = Number(process.env.TWOFOLD_ROUNDS || 5);
const REAL = process.env.TWOFOLD_LIGHTNINGD_ARCHIVE !== undefined;

let cluster: Cluster;
let labSeconds = 0;
test.before("a cluster of three members", async () => {
  const began = performance.now();
  cluster = new Cluster(await Lab.up({ name: "postgres", log: () => {} }));
  labSeconds = (performance.now() - began) / 1000;
});
test.after.always(() => cluster?.lab.down());

/** What may be seen in a gap, in the order in which it comes; the first line after the last acknowledgement counts. */
const STEPS: { step: string; unit: "lightningd" | "patroni"; line: RegExp }[] = [
  {
    step: "the primary's shutdown begins",
    unit: "patroni",
    line: /received fast shutdown request|received immediate shutdown/,
  },
  { step: "lightningd has ended", unit: "lightningd", line: /Main process exited/ },
  { step: "the gate's first look", unit: "lightningd", line: /^gate: / },
  { step: "a member is promoted", unit: "patroni", line: /received promote request|promoted self to leader/ },
  { step: "it takes writes", unit: "patroni", line: /database system is ready to accept connections/ },
  {
    step: "a standby is synchronous",
    unit: "patroni",
    line: /is now a (synchronous|candidate for quorum synchronous) standby/,
  },
  { step: "the gate lets lightningd start", unit: "lightningd", line: /^gate: start/ },
  { step: "lightningd has started", unit: "lightningd", line: /Server started with public key/ },
];

interface Line {
  at: number;
  unit: string;
  host: string;
  text: string;
}

/** Lines of the units since `since` (seconds of the wall clock), oldest first. */
async function linesSince(hosts: Machine[], since: number): Promise<Line[]> {
  const lines = await Promise.all(
    hosts.map(async (host) => {
      const words = ["--unit", LIGHTNINGD.unit, "--unit", "patroni", `--since=@${since.toFixed(6)}`, "--output=json"];
      const text = outputOf(await cluster.lab.tryExec(host.name, "journalctl", "--quiet", ...words));
      return text
        .split("\n")
        .filter((line) => line !== "")
        .map((line): Line => {
          const entry = JSON.parse(line) as Record<string, unknown>;
          const unit = `${entry.UNIT ?? entry._SYSTEMD_UNIT ?? ""}`.replace(/\.service$/, "");
          return { at: Number(entry.__REALTIME_TIMESTAMP) / 1e6, unit, host: host.name, text: `${entry.MESSAGE}` };
        });
    }),
  );
  return lines.flat().sort((a, b) => a.at - b.at);
}

/** The two acknowledgements with the longest time between them, as seconds of the wall clock. */
function gapOf(acknowledged: Acknowledged[]): { from: number; to: number } {
  const offset = Date.now() / 1000 - Number(process.hrtime.bigint()) / 1e9;
  let gap = { from: 0, to: 0 };
  acknowledged.forEach(({ at }, index) => {
    const before = acknowledged[index - 1]?.at ?? at;
    const [from, to] = [Number(before) / 1e9 + offset, Number(at) / 1e9 + offset];
    if (to - from > gap.to - gap.from) gap = { from, to };
  });
  return gap;
}

type Fault = (primary: Machine) => Promise<void>;

/** Of the cluster before a fault: what the length of a gap depends on. */
async function circumstances(): Promise<string> {
  const { name } = await cluster.primary();
  const place = cluster.members.findIndex((member) => member.name === name) + 1;
  return `primary ${name}, ${place} of ${cluster.members.length} in the members' order; etcd is led by ${await cluster.etcdLeader()}`;
}

/** @param ways each takes its turn in every round */
async function moves(t: ExecutionContext, ways: Record<string, Fault>, after: Fault = async () => {}): Promise<void> {
  const measured = Object.entries(ways).map(([name, fault]) => ({
    name,
    fault,
    gaps: [] as number[],
    steps: new Map<string, number[]>(),
  }));
  for (let round = 1; round <= ROUNDS; round++)
    for (const { name, fault, gaps, steps } of measured) {
      let was: Machine | undefined;
      let before = "";
      const { records, lost } = await underWriter(cluster, `bench-${Date.now()}`, async (primary) => {
        was = primary;
        before = await circumstances();
        await fault(primary);
      });
      t.deepEqual(lost, []);
      const { from, to } = gapOf(records);
      gaps.push(to - from);
      t.log(`${name}, round ${round}: ${(to - from).toFixed(2)} s; ${before}`);
      const living: Machine[] = [];
      for (const host of [cluster.node, ...cluster.members]) if ((await host.pid()) !== 0) living.push(host);
      const lines = (await linesSince(living, from - 0.05)).filter(({ at }) => at <= to);
      for (const { step, unit, line } of STEPS) {
        const found = lines.find((one) => one.unit === unit && line.test(one.text));
        if (found !== undefined) steps.set(step, [...(steps.get(step) ?? []), found.at - from]);
      }
      if (process.env.TWOFOLD_LINES)
        for (const { at, host, text } of lines) t.log(`${(at - from).toFixed(3)} ${host} ${text}`);
      if (was) await after(was);
    }
  for (const { name, gaps, steps } of measured) {
    const seconds = gaps.map((gap) => gap.toFixed(2)).join(", ");
    t.log(
      `${name}, between two acknowledgements: median ${median(gaps).toFixed(2)} s of ${seconds}; load ${loadavg()[0]?.toFixed(1)}`,
    );
    for (const { step } of STEPS) {
      const seen = steps.get(step);
      if (seen) t.log(`  ${median(seen).toFixed(2)} s ${step} (seen ${seen.length} of ${ROUNDS} times)`);
    }
  }
}

test.serial("what is measured", async (t) => {
  const primary = await cluster.primary();
  const names = "('fsync', 'full_page_writes', 'synchronous_commit', 'synchronous_standby_names', 'wal_sync_method')";
  const settings = await cluster.sql(primary, `SELECT name || '=' || setting FROM pg_settings WHERE name IN ${names}`);
  const role = await cluster.sql(
    primary,
    "SELECT array_to_string(rolconfig, ' ') FROM pg_roles WHERE rolname = 'alice'",
  );
  t.log(
    REAL ? "the real lightningd" : "the lab daemon; TWOFOLD_LIGHTNINGD_ARCHIVE=ARCHIVE measures the real lightningd",
  );
  t.log(`${settings.trim().split("\n").join(" ")}; the node's role: ${role.trim()}`);
  const data = cluster.dataDirectory(primary);
  const filesystem = await primary.exec("stat", "--file-system", "--format=%T", `${data}/pg_wal`);
  t.log(`the log lies on ${filesystem.trim()}`);
  t.log(`lab up in ${labSeconds.toFixed(0)} s; load ${loadavg()[0]?.toFixed(1)}`);
  t.pass();
});

/** Patroni's own, as `patronictl switchover` does it. */
async function patronisSwitchover(primary: Machine): Promise<void> {
  const words = ["patronictl", "--config-file", "/etc/patroni/config.yml", "switchover", "--force"];
  await primary.exec(...words, "--leader", primary.name, "--candidate", (await cluster.synchronous()).name);
}

test.serial("a planned switchover", (t) =>
  moves(t, {
    switchover: async () => {
      outputOf(await cluster.lab.verb("switchover"));
    },
    "Patroni's own": patronisSwitchover,
  }),
);

test.serial("kill -9 of the primary's postmaster", (t) =>
  moves(t, { "postmaster killed": (primary) => cluster.killPostmaster(primary) }),
);

test.serial("the primary's host killed", (t) =>
  moves(t, { "host killed": killHost }, async (primary) => {
    await powerOn([primary]);
    await cluster.whole(WHOLE_SECONDS);
  }),
);

const AS_SHIPPED = "log files zeroed and used again";
/** What PostgreSQL's manual proposes for filesystems that copy on write is measured beside its default. */
const LOGS: Record<string, Record<string, "on" | "off">> = {
  [AS_SHIPPED]: { wal_init_zero: "on", wal_recycle: "on" },
  "neither zeroed nor used again": { wal_init_zero: "off", wal_recycle: "off" },
};

/** The writer's turn begins in a log file that was made under these settings. */
async function setLog(settings: Record<string, "on" | "off">): Promise<void> {
  await cluster.configure(
    Object.fromEntries(Object.entries(settings).map(([name, value]) => [`postgresql.parameters.${name}`, value])),
  );
  const primary = await cluster.primary();
  for (const member of cluster.members)
    for (const [name, value] of Object.entries(settings))
      await eventually(`${name} is ${value} on ${member.name}`, WHOLE_SECONDS, async () => {
        return (await cluster.sql(member, `SHOW ${name}`)).trim() === value;
      });
  // More than once: some files of the other kind are there already.
  for (let file = 0; file < 4; file++) {
    await cluster.sql(primary, "SELECT pg_logical_emit_message(false, 'bench', '', true), pg_switch_wal()");
    await cluster.sql(primary, "CHECKPOINT");
  }
}

test.serial("commits a second, one writer", async (t) => {
  await cluster.whole(WHOLE_SECONDS);
  const client = await LightningdClient.connect(await socketOf(cluster.node, cluster.topology));
  try {
    const subjects = Object.entries(LOGS).map(([name, settings]) => ({
      name,
      measure: async () => {
        await setLog(settings);
        return write(client);
      },
    }));
    t.log(`${table(await inTurns(subjects, ROUNDS), "commits/s", AS_SHIPPED)}\nload ${loadavg()[0]?.toFixed(1)}`);
  } finally {
    client.close();
  }
  const status = outputOf(await cluster.lab.verb("status"));
  t.log(/a commit is flushed: .*/.exec(status)?.[0] ?? "status says nothing of a flush");
  t.pass();
});

/** What a commit waits for (postgresql.org, synchronous_commit); the last one is what lightningd's role has. */
const WAITS = {
  "for nothing": "off",
  "for the primary's own flush": "local",
  "for a standby's flush too": "on",
} as const;
/** Of one round, by which the log has grown by some files. */
const PGBENCH_SECONDS = 5;

test.serial("what a commit is made of: pgbench's simple update, one client, on the primary", async (t) => {
  await cluster.whole(WHOLE_SECONDS);
  const primary = await cluster.primary();
  const pgbench = (mode: string, ...words: string[]) =>
    primary.exec(
      ...["runuser", "-u", "postgres", "--", "env", `PGOPTIONS=-c synchronous_commit=${mode}`, "pgbench", ...words],
    );
  await pgbench("on", "--initialize", "--quiet", "postgres");
  const subjects = Object.entries(WAITS).map(([name, mode]) => ({
    name,
    measure: async () => {
      const words = ["--no-vacuum", "--builtin=simple-update", `--time=${PGBENCH_SECONDS}`, "postgres"];
      const milliseconds = /^latency average = ([\d.]+) ms$/m.exec(await pgbench(mode, ...words))?.[1];
      if (milliseconds === undefined) throw new Error("pgbench named no latency");
      return Number(milliseconds);
    },
  }));
  t.log(
    `${table(await inTurns(subjects, ROUNDS), "ms", "for a standby's flush too")}\nload ${loadavg()[0]?.toFixed(1)}`,
  );
  t.pass();
});
