/** Members that come and go, and restarts, while a writer writes: by the topology and `pulumi up`, and by the verbs `forget` and `restart`. */
import { readFileSync, writeFileSync } from "node:fs";
import test from "ava";
import { parse, stringify } from "yaml";
import { TLS } from "../../scripts/host/contract.ts";
import { Cluster } from "../faults/cluster.ts";
import { Machine } from "../faults/machine.ts";
import { killHost, powerOn } from "../faults/power.ts";
import { RECOVER_SECONDS, underWriter, WHOLE_SECONDS } from "../faults/under-writer.ts";
import { eventually, Lab } from "../helpers/lab.ts";
import { outputOf } from "../helpers/run-program.ts";

let lab: Lab;
let cluster: Cluster;

test.before("a cluster of three, and a fourth host", async () => {
  lab = await Lab.up({ name: "postgres-spare", log: () => {} });
  cluster = new Cluster(lab);
});
test.after.always(() => lab?.down());

interface Config {
  config: { "twofold:node": { wallet: { members: string[]; etcd: string[] } } };
}

/** Names the members in the stack's config, as an operator does with an editor. */
function declare(members: string[], etcd = members): void {
  const config = parse(readFileSync(lab.facts.configFile, "utf8")) as Config;
  Object.assign(config.config["twofold:node"].wallet, { members, etcd: [...etcd] });
  writeFileSync(lab.facts.configFile, stringify(config));
}

const UP = ["up", "--yes", "--skip-preview", "--non-interactive"];
/** Patroni's words for a member whose PostgreSQL runs. */
const RUNS = ["running", "streaming", "in archive recovery"];
const names = (machines: Machine[]) => machines.map(({ name }) => name).sort();
const machine = (name: string) => new Machine(lab, cluster.topology, name);

/** Hosts with a vote in etcd, as one of the members says. */
async function voters(): Promise<string[]> {
  const tls = "/etc/twofold/tls";
  const words = [`--cacert=${tls}/ca.crt`, `--cert=${tls}/etcd.crt`, `--key=${tls}/etcd.key`];
  const alive = await cluster.primary();
  const list = await alive.exec("etcdctl", ...words, "member", "list", "--write-out=simple");
  return list
    .split("\n")
    .filter((line) => line.trim().endsWith("false"))
    .map((line) => line.split(", ")[2] ?? "")
    .sort();
}

/** The cluster is as the config says: every member takes part and votes, and no host differs. */
async function asDeclared(): Promise<void> {
  cluster = new Cluster(lab);
  await cluster.whole(WHOLE_SECONDS);
  const members = names(cluster.members);
  const found = await voters();
  if (found.join() !== members.join()) throw new Error(`etcd has ${found}, declared are ${members}`);
  outputOf(await lab.verb("check"));
}

async function isOff(host: Machine): Promise<boolean> {
  const { stdout } = await lab.tryExec(host.name, "systemctl", "is-active", "patroni", "etcd");
  const { stdout: enabled } = await lab.tryExec(host.name, "systemctl", "is-enabled", "patroni", "etcd");
  return `${stdout}${enabled}`.trim().split("\n").join() === "inactive,inactive,disabled,disabled";
}

/** The standby that commits wait for, or one that they don't wait for. */
async function standby(kind: "synchronous" | "asynchronous"): Promise<Machine> {
  const [primary, synchronous] = await Promise.all([cluster.primary(), cluster.synchronous()]);
  if (kind === "synchronous") return synchronous;
  const found = cluster.members.find((member) => member !== primary && member !== synchronous);
  if (found === undefined) throw new Error("there is no asynchronous standby");
  return found;
}

test.serial(
  "a host takes a member's place in one up: it comes first, then the other one goes, and nothing is lost",
  async (t) => {
    const leaving = await standby("synchronous");
    const members = ["pg4", ...names(cluster.members).filter((name) => name !== leaving.name)].sort();
    const data = cluster.dataDirectory(leaving);
    const { lost, gap } = await underWriter(cluster, "replaced", async () => {
      declare(members);
      await lab.up();
    });
    t.deepEqual(lost, []);
    t.log(`${gap.toFixed(1)} s between two acknowledgements`);
    await asDeclared();
    t.deepEqual(names(cluster.members), members);
    t.true(await isOff(leaving));
    // Its copy of the wallet is the operator's to destroy.
    t.is((await leaving.exec("cat", `${data}/PG_VERSION`)).trim(), "17");
  },
);

test.serial("refuses to let the primary go, stops nothing, and goes on after a switchover", async (t) => {
  const primary = await cluster.primary();
  const spare = ["pg1", "pg2", "pg3", "pg4"].find((name) => !names(cluster.members).includes(name)) ?? "";
  const members = [spare, ...names(cluster.members).filter((name) => name !== primary.name)].sort();
  const { lost } = await underWriter(cluster, "primary-goes", async () => {
    declare(members);
    const refused = await lab.pulumi(UP);
    t.not(refused.status, 0);
    t.regex(refused.stdout + refused.stderr, /RETIRE-PRIMARY[\s\S]*switchover/);
    t.is((await primary.exec("systemctl", "is-active", "patroni")).trim(), "active");
    outputOf(await lab.verb("switchover"));
    await lab.up();
  });
  t.deepEqual(lost, []);
  await asDeclared();
  t.true(await isOff(primary));
});

test.serial("a host that answers is not forgotten; a dead one is, and the next up without it works", async (t) => {
  const dying = await standby("synchronous");
  const alive = await lab.verb("forget", "--yes", dying.name);
  t.not(alive.status, 0);
  t.regex(alive.stderr, /FORGET-ANSWERS/);

  const { lost } = await underWriter(cluster, "forgotten", async () => {
    await killHost(dying);
    outputOf(await lab.verb("forget", "--yes", dying.name));
  });
  t.deepEqual(lost, []);
  t.false((await voters()).includes(dying.name));

  const spare = ["pg1", "pg2", "pg3", "pg4"].find((name) => !names(cluster.members).includes(name)) ?? "";
  declare([spare, ...names(cluster.members).filter((name) => name !== dying.name)].sort());
  // The dead host is still declared, so this up says that it can't reach it; what it comes to before stays done.
  const up = await lab.pulumi(UP);
  t.not(up.status, 0);
  t.regex(up.stdout + up.stderr, new RegExp(`${dying.name}-`));

  // It comes back as a stranger, and goes off in order.
  await powerOn([dying]);
  await lab.up();
  await asDeclared();
  t.true(await isOff(machine(dying.name)));
});

test.serial("a member that was forgotten and comes back is taken in anew by the next up", async (t) => {
  const dying = await standby("asynchronous");
  await killHost(dying);
  outputOf(await lab.verb("forget", "--yes", dying.name));
  await powerOn([dying]);
  // It exits with 1 while a host can't be reached.
  await eventually("its SSH answers", 60, async () => (await lab.verb("check")).status !== 1);
  outputOf(await lab.verb("repair", "--yes"));
  await asDeclared();
  t.true((await voters()).includes(dying.name));
});

test.serial("a rolling restart takes one member at a time and the primary last, and nothing is lost", async (t) => {
  const before = await cluster.primary();
  await cluster.configure({ "postgresql.parameters.max_wal_senders": 12 });
  await eventually("every member waits for a restart", 30, async () =>
    (await cluster.list()).every(({ pending_restart }) => pending_restart),
  );
  let fewest = cluster.members.length;
  const { lost, gap } = await underWriter(cluster, "restart", async () => {
    const restart = lab.verb("restart");
    let done = false;
    const ended = restart.finally(() => {
      done = true;
    });
    await eventually("the restart has ended", WHOLE_SECONDS, async () => {
      const list = await cluster.list();
      // A handing over ends every standby's stream for a moment; its PostgreSQL runs on.
      if (list.length > 0) fewest = Math.min(fewest, list.filter(({ state }) => RUNS.includes(state)).length);
      return done;
    });
    const { status, stderr } = await ended;
    t.is(status, 0, stderr);
    const order = [...stderr.matchAll(/^restarting PostgreSQL on (\S+)|^handing over from (\S+)/gm)].map(
      ([, restarted, moved]) => restarted ?? moved,
    );
    t.is(order.at(-1), before.name);
    t.is(new Set(order).size, cluster.members.length);
  });
  t.deepEqual(lost, []);
  t.log(`${gap.toFixed(1)} s between two acknowledgements; ${fewest} members were up at least`);
  t.true(fewest >= cluster.members.length - 1);
  for (const member of cluster.members)
    t.is((await cluster.sql(member, "SHOW max_wal_senders")).trim(), "12", member.name);
  t.false((await cluster.list()).some(({ pending_restart }) => pending_restart));
});

test.serial(
  "a member that can't be reached during an up: what was done stays, the next up does the rest",
  async (t) => {
    const away = await standby("asynchronous");
    const primary = await cluster.primary();
    await killHost(away);
    const config = parse(readFileSync(lab.facts.configFile, "utf8")) as { config: Record<string, unknown> };
    config.config["twofold:maintenance"] = { balance: "30 3 * * *" };
    writeFileSync(lab.facts.configFile, stringify(config));
    const failed = await lab.pulumi(UP);
    await powerOn([away]);
    t.not(failed.status, 0);
    t.regex(failed.stdout + failed.stderr, new RegExp(`${away.name}-\\S+`));
    t.regex(await primary.exec("cat", "/etc/cron.d/twofold"), /^30 3 \* \* \*/m);
    await lab.up();
    t.regex(await away.exec("cat", "/etc/cron.d/twofold"), /^30 3 \* \* \*/m);
    await asDeclared();
    await cluster.awaitPrimary(cluster.members, RECOVER_SECONDS);
  },
);

const CONFIG = "/etc/patroni/config.yml";
const CERTIFICATE = "/etc/twofold/tls/postgres.crt";
const POSTGRES = ["runuser", "--user", "postgres", "--"];

/** Each makes a member's host unfit, and puts it right. */
const UNFIT: {
  code: string;
  what: string;
  spoil(host: Machine, data: string): Promise<void>;
  mend(host: Machine, data: string): Promise<void>;
}[] = [
  {
    code: "MEMBER-PORT",
    what: "another program has PostgreSQL's port",
    async spoil(host) {
      const listen = "require('node:net').createServer().listen(5432)";
      await host.exec("systemd-run", "--quiet", "--unit=stranger", "--", "/usr/bin/node", "--eval", listen);
      await eventually("the stranger listens", 10, async () => (await host.exec("ss", "-Hltn")).includes(":5432 "));
    },
    mend: async (host) => void (await host.exec("systemctl", "stop", "stranger")),
  },
  {
    code: "MEMBER-OTHER-CLUSTER",
    what: "its Patroni belongs to another cluster",
    spoil: async (host) => void (await host.exec("sed", "--in-place", "s/^scope: .*/scope: bob/", CONFIG)),
    mend: async (host) =>
      void (await host.exec("sed", "--in-place", `s/^scope: .*/scope: ${cluster.topology.node.name}/`, CONFIG)),
  },
  {
    code: "PG-OTHER-SYSTEM",
    what: "its data is another cluster's",
    async spoil(host, data) {
      await host.exec("mv", data, `${data}.ours`);
      await host.exec(...POSTGRES, "/usr/lib/postgresql/17/bin/initdb", `--pgdata=${data}`);
    },
    async mend(host, data) {
      await host.exec("rm", "--recursive", data);
      await host.exec("mv", `${data}.ours`, data);
    },
  },
  {
    code: "PG-VERSION",
    what: "its data is of another major version",
    spoil: async (host, data) => void (await host.exec("sed", "--in-place", "s/17/16/", `${data}/PG_VERSION`)),
    mend: async (host, data) => void (await host.exec("sed", "--in-place", "s/16/17/", `${data}/PG_VERSION`)),
  },
  {
    code: "TLS-CERTIFICATE",
    what: "its certificate is of another authority",
    async spoil(host) {
      await host.exec("mv", CERTIFICATE, `${CERTIFICATE}.ours`);
      const request = ["openssl", "req", "-x509", "-key", "/etc/twofold/tls/postgres.key", "-subj", `/CN=${host.name}`];
      await host.exec(...request, "-out", CERTIFICATE, "-days", "30");
    },
    mend: async (host) => void (await host.exec("mv", `${CERTIFICATE}.ours`, CERTIFICATE)),
  },
];

test.serial("a member whose host is unfit is refused with the reason, and nothing on it is touched", async (t) => {
  const host = await standby("asynchronous");
  const data = cluster.dataDirectory(host);
  await host.exec("systemctl", "stop", "patroni");
  for (const { code, what, spoil, mend } of UNFIT) {
    await spoil(host, data);
    const before = await host.exec("sha256sum", CONFIG, CERTIFICATE, `${data}/PG_VERSION`, `${data}/global/pg_control`);
    const repaired = await lab.verb("repair", "--yes");
    t.not(repaired.status, 0, what);
    t.regex(repaired.stdout + repaired.stderr, new RegExp(code), what);
    const after = await host.exec("sha256sum", CONFIG, CERTIFICATE, `${data}/PG_VERSION`, `${data}/global/pg_control`);
    t.is(after, before, what);
    t.is((await lab.tryExec(host.name, "systemctl", "is-active", "patroni")).stdout.trim(), "inactive", what);
    await mend(host, data);
  }
  outputOf(await lab.verb("repair", "--yes"));
  await asDeclared();
});

test.serial("an authority that is lost is replaced on all hosts at once, by a verb that is asked for it", async (t) => {
  await lab.exec(cluster.node.name, "rm", "--recursive", TLS.authority);
  const refused = await lab.verb("certificates", "renew");
  t.not(refused.status, 0);
  t.regex(refused.stderr, /TLS-OTHER-AUTHORITY[\s\S]*--new-authority/);
  const hosts = [cluster.node, ...cluster.members];
  const authorities = async () =>
    new Set(
      await Promise.all(hosts.map((host) => host.exec("openssl", "x509", "-noout", "-fingerprint", "-in", TLS.ca))),
    );
  const before = await authorities();
  t.is(before.size, 1);
  const { lost, gap } = await underWriter(cluster, "authority", async () => {
    outputOf(await lab.verb("certificates", "renew", "--new-authority"));
  });
  t.deepEqual(lost, []);
  t.log(`${gap.toFixed(1)} s between two acknowledgements`);
  const now = await authorities();
  t.is(now.size, 1);
  t.notDeepEqual(now, before);
  await lab.up();
  await asDeclared();
});
