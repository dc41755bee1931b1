/**
 * A session of its own on one member, which commits again and again for as long as that member takes it: what lightningd, which leaves a
 * primary that does not answer, can't show of a primary that nobody else believes in.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { eventually } from "../helpers/lab.ts";
import type { Cluster } from "./cluster.ts";
import type { Machine } from "./machine.ts";

const TABLE = "twofold_probe";
const BEGIN_SECONDS = 30;
const EACH_SECONDS = 0.02;
/** A session whose client was killed goes on: this many commits, five minutes at most. */
const MOST = 15_000;

export class Probe {
  readonly #child: ChildProcess;
  readonly #cluster: Cluster;
  /** Rows whose commit the member has reported. */
  readonly acknowledged: string[] = [];

  private constructor(cluster: Cluster, child: ChildProcess) {
    this.#cluster = cluster;
    this.#child = child;
    let rest = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      // psql prints a row when its commit was reported, and a line of time before each.
      this.acknowledged.push(...lines.filter((line) => /^[0-9a-f]{8}-\d+$/.test(line)));
    });
  }

  static async start(cluster: Cluster, primary: Machine): Promise<Probe> {
    await cluster.sql(primary, `CREATE TABLE IF NOT EXISTS ${TABLE} (id bigserial, word text)`);
    const psql = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--dbname=postgres"];
    const words = ["exec", "--interactive", primary.container, "runuser", "--user", "postgres", "--", ...psql];
    const child = spawn("docker", words, { env: cluster.lab.facts.env, stdio: ["pipe", "pipe", "ignore"] });
    const word = randomBytes(4).toString("hex");
    child.stdin?.on("error", () => {});
    child.stdin?.end(
      `INSERT INTO ${TABLE} (word) VALUES ('${word}') RETURNING word || '-' || id \\watch i=${EACH_SECONDS} c=${MOST}\n`,
    );
    const probe = new Probe(cluster, child);
    await eventually(
      `a session of its own commits on ${primary.name}`,
      BEGIN_SECONDS,
      async () => probe.acknowledged.length > 5,
    );
    return probe;
  }

  /** Ends the session. @returns rows that were acknowledged and that `primary` does not have */
  async lost(primary: Machine): Promise<string[]> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const closed = once(this.#child, "close");
      this.#child.kill("SIGKILL");
      await closed;
    }
    const text = await this.#cluster.sql(primary, `SELECT word || '-' || id FROM ${TABLE}`);
    const present = new Set(text.split("\n"));
    return this.acknowledged.filter((row) => !present.has(row));
  }
}
