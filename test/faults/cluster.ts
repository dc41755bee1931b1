/** A lab's PostgreSQL cluster as faults meet it: who is primary, what is in it, and the end of one of its processes. */
import { join } from "node:path";
import type { PatroniMember } from "../../scripts/host/postgres/patroni.ts";
import { eventually, type Lab } from "../helpers/lab.ts";
import { runProgram } from "../helpers/run-program.ts";
import { Machine, topologyOf } from "./machine.ts";

/** Prints what Patroni answers; the argument is the authority's certificate. */
const ASK_PATRONI = `const { get } = require("node:https");
  const ca = require("node:fs").readFileSync(process.argv[1]);
  get({ host: "127.0.0.1", port: 8008, path: "/cluster", ca, timeout: 3000 }, (answer) => answer.pipe(process.stdout))
    .on("timeout", () => process.exit(1)).on("error", () => process.exit(1));`;

const DATA = "/var/lib/postgresql/17";

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
      const network = ["--target", `${await member.running()}`, "--net", process.execPath, "--eval", ASK_PATRONI];
      const ran = await runProgram("nsenter", [...network, await member.path("/etc/twofold/tls/ca.crt")]);
      if (ran.status === 0) return (JSON.parse(ran.stdout) as { members: PatroniMember[] }).members;
    }
    return [];
  }

  /** The member that has the leader's lock and runs, as `asked` see it. */
  async primary(asked: Machine[] = this.members): Promise<Machine> {
    const found = (await this.list(asked)).find(({ role, state }) => role === "leader" && state === "running");
    const machine = this.members.find(({ name }) => name === found?.name);
    if (machine === undefined) throw new Error("no member is primary");
    return machine;
  }

  /** Waits for a primary among `asked`, and returns it. */
  awaitPrimary(asked: Machine[], seconds: number): Promise<Machine> {
    return eventually(`one of ${asked.map(({ name }) => name).join(", ")} is primary`, seconds, async () => {
      const found = await this.primary(asked);
      return asked.includes(found) && found;
    });
  }

  /** Waits until every member follows, and one of them synchronously unless that is switched off. */
  async whole(seconds: number, synchronous = true): Promise<void> {
    await eventually("every member takes part, one standby synchronously", seconds, async () => {
      const list = await this.list();
      const following = list.filter(({ role, state }) =>
        role === "leader" ? state === "running" : state === "streaming",
      );
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
    const pidFile = join(DATA, this.topology.node.name, "postmaster.pid");
    const [pid = ""] = (await member.exec("cat", pidFile)).split("\n");
    await member.exec("kill", "-KILL", pid);
    await eventually(`postmaster ${pid} of ${member.name} is gone`, 10, async () => {
      const { status } = await this.lab.tryExec(member.name, "test", "-d", `/proc/${pid}`);
      return status !== 0;
    });
  }

  /** `kill -9` of Patroni alone: PostgreSQL goes on. */
  async killPatroni(member: Machine): Promise<void> {
    const pid = (await member.exec("systemctl", "show", "--property=MainPID", "--value", "patroni")).trim();
    await member.exec("kill", "-KILL", pid);
    await eventually(`Patroni ${pid} of ${member.name} is gone`, 10, async () => {
      const { status } = await this.lab.tryExec(member.name, "test", "-d", `/proc/${pid}`);
      return status !== 0;
    });
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
