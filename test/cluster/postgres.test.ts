/**
 * The wallet in PostgreSQL under a writer, a short run of `npm run prove -- postgres`: whatever ends, every invoice that was acknowledged is
 * in the primary that is left.
 */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import test from "ava";
import { TLS, tlsFiles } from "../../scripts/host/contract.ts";
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

test.serial("a standby that does not flush in time is told by status, and the others with their time", async (t) => {
  const primary = await cluster.primary();
  const stopped = await cluster.synchronous();
  const [other] = cluster.others(primary).filter((member) => member !== stopped);
  // The process that takes the primary's log in.
  const receiver = (await cluster.sql(stopped, "SELECT pid FROM pg_stat_wal_receiver")).trim();
  await stopped.exec("kill", "-STOP", receiver);
  try {
    const { stdout } = await cluster.lab.verb("status");
    t.regex(stdout, new RegExp(`a commit is flushed: .*by ${stopped.name} NOT IN TIME \\(commits wait for it\\)`));
    t.regex(stdout, new RegExp(`a commit is flushed: .*by ${other?.name} after [\\d.]+ ms`));
  } finally {
    await stopped.exec("kill", "-CONT", receiver);
  }
  await cluster.whole(WHOLE_SECONDS);
});

test.serial("refuses a second session of the node's role, and another role with the node's certificate", async (t) => {
  const second = await secondSession(cluster, "alice");
  t.not(second.status, 0);
  t.regex(second.stderr, /too many connections for role "alice"/);
  const other = await secondSession(cluster, "replicator");
  t.not(other.status, 0);
  t.regex(other.stderr, /no pg_hba.conf entry|certificate authentication failed/);
});

/** Tries to log in to the primary from a host as an account that may read the certificate. */
function logIn(host: Machine, account: string, words: Record<string, string>) {
  const login = Object.entries({ sslmode: "verify-full", sslrootcert: TLS.ca, connect_timeout: "10", ...words })
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");
  const psql = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", "--command=IDENTIFY_SYSTEM", `--dbname=${login}`];
  return cluster.lab.tryExec(host.name, "runuser", "--user", account, "--", ...psql);
}

test.serial("nobody gets into PostgreSQL without the certificate of who they say they are", async (t) => {
  const primary = await cluster.primary();
  const member = await cluster.synchronous();
  const proof = (role: "etcd" | "postgres") => ({ sslcert: tlsFiles(role).certificate, sslkey: tlsFiles(role).key });
  const replicator = { host: primary.name, user: "replicator", dbname: "postgres", replication: "yes" };
  const stranger = "/tmp/stranger";
  const request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", `/CN=${member.name}`];
  await member.exec(...request, "-keyout", `${stranger}.key`, "-out", `${stranger}.crt`);
  await member.exec("chown", "postgres", `${stranger}.key`, `${stranger}.crt`);
  const alice = { host: primary.name, user: "alice", dbname: "alice" };
  const none = { sslcert: "/nonexistent", sslkey: "/nonexistent" };

  const control = await logIn(member, "postgres", { ...replicator, ...proof("postgres") });
  t.is(control.status, 0, `a member itself gets in: ${control.stderr}`);
  for (const [who, account, words, reason] of [
    [
      "a member as the node's role",
      "postgres",
      { ...alice, ...proof("postgres") },
      /certificate authentication failed/,
    ],
    [
      "a member as the superuser",
      "postgres",
      { ...alice, user: "postgres", ...proof("postgres") },
      /no pg_hba.conf entry/,
    ],
    ["etcd as replicator", "etcd", { ...replicator, ...proof("etcd") }, /certificate authentication failed/],
    ["anybody without TLS", "postgres", { ...replicator, sslmode: "disable" }, /no pg_hba.conf entry.*no encryption/],
    ["anybody without a certificate", "postgres", { ...replicator, ...none }, /requires a valid client certificate/],
    [
      "another authority's certificate of a member's name",
      "postgres",
      { ...replicator, sslcert: `${stranger}.crt`, sslkey: `${stranger}.key` },
      /unknown ca|certificate verify failed/i,
    ],
  ] as const) {
    const { status, stderr } = await logIn(member, account, words);
    t.not(status, 0, who);
    t.regex(stderr, reason, who);
  }
});

/**
 * Sends a request to the primary's Patroni; prints the status. Arguments: address, method, path, authority, certificate and key or "". The
 * body sets what is set already: Patroni takes an empty one for a bad request.
 */
const ASK = `const [host, method, path, ca, cert, key] = process.argv.slice(1);
  const read = (file) => (file === "" ? undefined : require("node:fs").readFileSync(file));
  const options = { host, port: 8008, method, path, ca: read(ca), cert: read(cert), key: read(key), timeout: 10000 };
  require("node:https").request(options, (answer) => console.log(answer.statusCode) || answer.resume()).end('{"loop_wait":1}');`;

test.serial(
  "Patroni takes changes from a member with a certificate alone, and tells how it is to anybody",
  async (t) => {
    const primary = await cluster.primary();
    const member = await cluster.synchronous();
    const ask = async (from: Machine, method: string, path: string, role?: "node" | "postgres") => {
      const files = role === undefined ? ["", ""] : [tlsFiles(role).certificate, tlsFiles(role).key];
      return (await from.exec("node", "--eval", ASK, primary.name, method, path, TLS.ca, ...files)).trim();
    };
    t.is(await ask(member, "PATCH", "/config", "postgres"), "200", "a member itself may");
    t.is(await ask(member, "GET", "/cluster"), "200");
    for (const [method, path] of [
      ["PATCH", "/config"],
      ["POST", "/restart"],
      ["POST", "/switchover"],
      ["POST", "/failover"],
    ] as const) {
      t.is(await ask(member, method, path), "403", `${method} ${path} without a certificate`);
      t.is(await ask(cluster.node, method, path, "node"), "403", `${method} ${path} from a host that is no member`);
    }
    t.is((await cluster.primary()).name, primary.name);
  },
);

test.serial("what somebody has changed behind twofold's back is found and put back", async (t) => {
  const primary = await cluster.primary();
  const standby = await cluster.synchronous();
  await cluster.sql(primary, "ALTER ROLE alice IN DATABASE alice SET synchronous_commit = local");
  await cluster.sql(standby, "ALTER SYSTEM SET fsync = off");
  await primary.exec("patronictl", "--config-file", "/etc/patroni/config.yml", "pause", "--wait");
  const checked = await cluster.lab.verb("check");
  t.is(checked.status, 2);
  t.regex(checked.stdout, /role alice has other settings in database alice: synchronous_commit=local/);
  t.regex(checked.stdout, /ALTER SYSTEM has set here: fsync=off/);
  t.regex(checked.stdout, /end the pause/);
  t.regex((await cluster.lab.verb("status")).stdout, /PATRONI IS PAUSED/);
  const repaired = await cluster.lab.verb("repair", "--yes");
  t.is(repaired.status, 0, repaired.stderr);
  t.is(
    (
      await cluster.sql(standby, "SELECT count(*) FROM pg_file_settings WHERE name = 'fsync' AND setting = 'off'")
    ).trim(),
    "0",
  );
  await cluster.whole(WHOLE_SECONDS);
  t.is((await cluster.lab.verb("check")).status, 0);
});

/** When a member's etcd went away the last time and when it was back, in µs of the clock that all hosts of a lab share. */
async function awayTime(member: Machine): Promise<{ from: number; to: number }> {
  const shown = await member.exec(
    "systemctl",
    "show",
    "--property=ActiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic",
    "etcd",
  );
  const time = (name: string) => Number(new RegExp(`^${name}TimestampMonotonic=(\\d+)$`, "m").exec(shown)?.[1]);
  return { from: time("ActiveExit"), to: time("ActiveEnter") };
}

test.serial("a change that restarts etcd everywhere takes one member at a time, and nothing stops", async (t) => {
  const before = await Promise.all(cluster.members.map(awayTime));
  const { lost } = await underWriter(cluster, "etcd-restart", async (primary) => {
    for (const member of cluster.members) await member.exec("sed", "--in-place", "$ a # tampered", "/etc/default/etcd");
    const ran = await cluster.lab.verb("repair", "--yes");
    t.is(ran.status, 0, ran.stderr);
    t.is((await cluster.primary()).name, primary.name);
  });
  t.deepEqual(lost, []);
  const away = await Promise.all(cluster.members.map(awayTime));
  t.true(
    away.every(({ from }, index) => from > (before[index]?.from ?? 0)),
    "each was restarted",
  );
  const inOrder = [...away].sort((a, b) => a.from - b.from);
  for (const [index, { from }] of inOrder.entries())
    t.true(from >= (inOrder[index - 1]?.to ?? 0), JSON.stringify(inOrder));
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
        [5432, "postgres"],
        [2379, "etcd"],
      ] as const)
        await eventually(`port ${port} of ${member.name} shows its new certificate`, 30, async () => {
          const shown = await cluster.shownSerial(member, port);
          return shown === renewed[files.findIndex(({ host, role: its }) => host === member && its === role)];
        });

    // A renewal that ended after it had written the file and before anybody was told.
    const [member] = cluster.members;
    if (member === undefined) throw new Error("the cluster has no member");
    const { certificate } = tlsFiles("postgres");
    const written = await member.exec("cat", certificate);
    const ran = await cluster.lab.verb("certificates", "renew");
    t.is(ran.status, 0, ran.stderr);
    await member.exec("sh", "-euc", 'printf "%s" "$1" > "$2"', "sh", written, certificate);
    const checked = await cluster.lab.verb("check");
    t.is(checked.status, 2);
    t.regex(checked.stdout, /port 8008 and 5432 shows the one of before/);
    const repaired = await cluster.lab.verb("repair", "--yes");
    t.is(repaired.status, 0, repaired.stderr);
    for (const port of [8008, 5432])
      t.is(await cluster.shownSerial(member, port), new X509Certificate(written).serialNumber, `${port}`);
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
