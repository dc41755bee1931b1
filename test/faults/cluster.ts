/** A lab's PostgreSQL cluster as faults meet it: who is primary, what is in it, and the end of one of its processes. */
import { join } from "node:path";
import { postgresDocument } from "../../components/topology/documents/postgres.ts";
import { etcdctlWords } from "../../scripts/host/etcd/members.ts";
import { type PatroniMember, takesPart } from "../../scripts/host/postgres/patroni.ts";
import { dataDirectory } from "../../templates/patroni.ts";
import { eventually, type Lab } from "../helpers/lab.ts";
import { healLinks } from "./links.ts";
import { Machine, topologyOf } from "./machine.ts";
import { powerOn } from "./power.ts";

/** Prints what Patroni answers; the argument is the authority's certificate. */
const ASK_PATRONI = `const { get } = require("node:https");
  const ca = require("node:fs").readFileSync(process.argv[1]);
  get({ host: "127.0.0.1", port: 8008, path: "/cluster", ca, timeout: 3000 }, (answer) => answer.pipe(process.stdout))
    .on("timeout", () => process.exit(1)).on("error", () => process.exit(1));`;

/** Prints the serial number of what a port of this network's host shows; the argument is the port. PostgreSQL's wants to hear its protocol's name. */
const ASK_SERIAL = `const port = Number(process.argv[1]);
  const ALPNProtocols = port === 5432 ? ["postgresql"] : undefined;
  const socket = require("node:tls").connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ALPNProtocols }, () => {
    console.log(socket.getPeerCertificate().serialNumber);
    process.exit();
  }).on("error", () => process.exit(1));`;

const PATRONI = "patroni";
/** Of a member whose PostgreSQL ends right after its start. */
const START_FAILED = "start failed";
/** Seconds for a signal to have its effect, on a busy machine. */
const EFFECT_SECONDS = 10;

export class Cluster {
  readonly lab: Lab;
  readonly node: Machine;
  readonly members: Machine[];
  readonly topology: ReturnType<typeof topologyOf>;

  constructor(lab: Lab) {
    this.lab = lab;
    this.topology = topologyOf(lab);
    const { node } = this.topology;
    if (node.wallet.kind !== "postgres") throw new Error(`the lab's wallet is in ${node.wallet.kind}`);
    this.node = new Machine(lab, this.topology, node.host);
    this.members = node.wallet.members.map((name) => new Machine(lab, this.topology, name));
  }

  /** Of the other members, those that `name` is not. */
  others(member: Machine): Machine[] {
    return this.members.filter((one) => one !== member);
  }

  /** What a living member's Patroni says of all. */
  async list(asked: Machine[] = this.members): Promise<PatroniMember[]> {
    for (const member of asked) {
      if ((await member.pid()) === 0) continue;
      // From here into the member's own network: nothing of the answer comes over the lab's links.
      const ca = await member.path("/etc/twofold/tls/ca.crt");
      const ran = await member.tryInNetwork(process.execPath, "--eval", ASK_PATRONI, ca);
      if (ran.status === 0) return (JSON.parse(ran.stdout) as { members: PatroniMember[] }).members;
    }
    return [];
  }

  /** The member that has the leader's lock and runs, as `asked` see it. */
  async primary(asked: Machine[] = this.members): Promise<Machine> {
    return this.#primaryIn(await this.list(asked));
  }

  async #primaryIn(list: PatroniMember[]): Promise<Machine> {
    const found = list.find(({ role, state }) => role === "leader" && state === "running");
    const machine = this.members.find(({ name }) => name === found?.name);
    if (machine === undefined) throw new Error("no member is primary");
    // A member that is cut off goes on telling what it last knew.
    if (await this.isReadOnly(machine)) throw new Error(`${machine.name} is said to be primary, and takes no writes`);
    return machine;
  }

  /** Waits for a primary among `asked`, and returns it. */
  awaitPrimary(asked: Machine[], seconds: number): Promise<Machine> {
    return eventually(`one of ${asked.map(({ name }) => name).join(", ")} is primary`, seconds, async () => {
      const found = await this.primary(asked);
      return asked.includes(found) && found;
    });
  }

  /** Waits until the primary takes writes, every member follows, and one of them synchronously unless that is switched off. */
  async whole(seconds: number, synchronous = true): Promise<void> {
    await eventually("every member takes part, one standby synchronously", seconds, async () => {
      const list = await this.list();
      const following = list.filter(takesPart);
      // A member whose link has just been healed may still tell of what was before it was cut: then this fails, and is asked again.
      await this.#primaryIn(list);
      return (
        following.length === this.members.length && list.some(({ role }) => role === "sync_standby") === synchronous
      );
    });
  }

  /** Every invoice's label in the database of a member, as its own superuser reads it. */
  async labels(member: Machine): Promise<Set<string>> {
    const text = await this.sql(member, "SELECT label FROM invoices", this.topology.node.name);
    return new Set(text.split("\n").filter((line) => line !== ""));
  }

  sql(member: Machine, statement: string, database = "postgres"): Promise<string> {
    const words = [
      "psql",
      "--no-psqlrc",
      "--tuples-only",
      "--no-align",
      `--dbname=${database}`,
      `--command=${statement}`,
    ];
    return member.exec("runuser", "--user", "postgres", "--", ...words);
  }

  /** `kill -9` of the member's postmaster; returns when that process is gone. */
  async killPostmaster(member: Machine): Promise<void> {
    const pidFile = join(this.dataDirectory(member), "postmaster.pid");
    const [pid = ""] = (await member.exec("cat", pidFile)).split("\n");
    await member.exec("kill", "-KILL", pid);
    await eventually(`postmaster ${pid} of ${member.name} is gone`, EFFECT_SECONDS, async () => {
      const { status } = await this.lab.tryExec(member.name, "test", "-d", `/proc/${pid}`);
      return status !== 0;
    });
  }

  /** `kill -9` of Patroni alone: PostgreSQL goes on. */
  async killPatroni(member: Machine): Promise<void> {
    const pid = (await member.exec("systemctl", "show", "--property=MainPID", "--value", "patroni")).trim();
    await member.exec("kill", "-KILL", pid);
    await eventually(`Patroni ${pid} of ${member.name} is gone`, EFFECT_SECONDS, async () => {
      const { status } = await this.lab.tryExec(member.name, "test", "-d", `/proc/${pid}`);
      return status !== 0;
    });
  }

  /** Patroni alone stands still (SIGSTOP), its PostgreSQL goes on, until {@link resumePatroni}. */
  async pausePatroni(member: Machine): Promise<void> {
    const pid = (await member.exec("systemctl", "show", "--property=MainPID", "--value", PATRONI)).trim();
    await member.exec("kill", "-STOP", pid);
    await eventually(`Patroni ${pid} of ${member.name} stands still`, EFFECT_SECONDS, async () =>
      /^State:\s+T/m.test(await member.exec("cat", `/proc/${pid}/status`)),
    );
  }

  async resumePatroni(member: Machine): Promise<void> {
    await member.exec("systemctl", "kill", "--signal=SIGCONT", "--kill-whom=main", PATRONI);
  }

  /** SIGKILL to Patroni and all of PostgreSQL on a member, which stay off until {@link startMember}; its etcd goes on. */
  async killMember(member: Machine): Promise<void> {
    await member.exec("systemctl", "kill", "--signal=SIGKILL", "--kill-whom=all", PATRONI);
    // systemd would start it again after a second.
    await member.exec("systemctl", "stop", PATRONI);
    await eventually(`PostgreSQL of ${member.name} is gone`, EFFECT_SECONDS, async () => {
      const { status } = await this.lab.tryExec(member.name, "pgrep", "--exact", "postgres");
      return status === 1;
    });
  }

  async startMember(member: Machine): Promise<void> {
    await member.exec("systemctl", "start", "--no-block", PATRONI);
  }

  /** Stops etcd on a member until {@link startEtcd}. */
  async stopEtcd(member: Machine): Promise<void> {
    await member.exec("systemctl", "kill", "--signal=SIGKILL", "etcd");
    await member.exec("systemctl", "stop", "etcd");
  }

  async startEtcd(member: Machine): Promise<void> {
    await member.exec("systemctl", "start", "--no-block", "etcd");
  }

  /** The member of etcd that leads the others. */
  async etcdLeader(): Promise<string> {
    const words = [...etcdctlWords(), "endpoint", "status", "--write-out=json"];
    for (const member of this.members) {
      const [found] = JSON.parse(await member.exec("etcdctl", ...words)) as {
        Status: { leader: number; header: { member_id: number } };
      }[];
      if (found?.Status.leader === found?.Status.header.member_id) return member.name;
    }
    return "nobody";
  }

  /** The member that commits wait for. */
  async synchronous(): Promise<Machine> {
    const name = (await this.list()).find(({ role }) => role === "sync_standby")?.name;
    const machine = this.members.find((member) => member.name === name);
    if (machine === undefined) throw new Error("no standby is synchronous");
    return machine;
  }

  /** Standbys, and whatever else receives the primary's log, by their application's name. */
  async receivers(primary: Machine): Promise<string[]> {
    const text = await this.sql(primary, "SELECT application_name FROM pg_stat_replication ORDER BY 1");
    return text.split("\n").filter((line) => line !== "");
  }

  /** Whether a member takes no writes. */
  async isReadOnly(member: Machine): Promise<boolean> {
    return (await this.sql(member, "SELECT pg_is_in_recovery()")).trim() === "t";
  }

  /** Serial number of the certificate that a member's port shows. */
  async shownSerial(member: Machine, port: number): Promise<string> {
    return member.inNetwork(process.execPath, "--eval", ASK_SERIAL, `${port}`);
  }

  /** Where a member's PostgreSQL has its data. */
  dataDirectory({ name }: Machine): string {
    const document = postgresDocument(this.topology, name);
    if (document === undefined) throw new Error(`${name} is no member`);
    return dataDirectory(document);
  }

  /** Takes back what a sentence that failed has left: hosts that are off, links that are cut, units that are stopped. */
  async restore(): Promise<void> {
    for (const host of [this.node, ...this.members]) {
      if ((await host.pid()) === 0) await powerOn([host]);
      else await healLinks(host).catch(() => {});
    }
    for (const member of this.members) {
      await this.startEtcd(member);
      await this.startMember(member);
    }
    const list = await this.list();
    for (const member of this.members)
      if (list.some(({ name, state }) => name === member.name && state === START_FAILED)) await this.tryAgain(member);
  }

  /** The operator's word to a member that Patroni has given up: its next Patroni rewinds it once more. */
  async tryAgain(member: Machine): Promise<void> {
    await member.exec("systemctl", "restart", "--no-block", PATRONI);
  }

  /** Whether a member is the primary that runs, or streams from it. */
  async takesPart(member: Machine): Promise<boolean> {
    return (await this.list()).some((one) => one.name === member.name && takesPart(one));
  }

  /** Mount point of a member's own volume, which holds its data. */
  volume(member: Machine): string {
    const mount = member.volumes[0]?.mount;
    if (mount === undefined) throw new Error(`${member.name} has no volume of its own`);
    return mount;
  }

  /** Changes what the members share in etcd, as an administrator could: for negative controls only. */
  async configure(settings: Record<string, unknown>): Promise<void> {
    const member = await this.primary();
    const words = Object.entries(settings).flatMap(([name, value]) => ["--set", `${name}=${JSON.stringify(value)}`]);
    await member.exec("patronictl", "--config-file", "/etc/patroni/config.yml", "edit-config", "--force", ...words);
  }
}

/** The longest time between two acknowledgements that follow each other, in seconds. */
export function longestGap(acknowledged: { at: bigint }[]): number {
  let longest = 0n;
  for (let index = 1; index < acknowledged.length; index++) {
    const gap = (acknowledged[index]?.at ?? 0n) - (acknowledged[index - 1]?.at ?? 0n);
    if (gap > longest) longest = gap;
  }
  return Number(longest) / 1e9;
}
