/**
 * A lab of the test run's own: the same `npm run lab` that a user runs, under a run id, taken down at the end.
 * Tests reach its hosts as an operator does: `./twofold`, `pulumi`, ssh.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { labDown, labUp } from "../../scripts/setup/lab.mjs";
import { runInside } from "./inside.ts";
import { outputOf, type Ran, runProgram } from "./run-program.ts";

const ROOT = join(import.meta.dirname, "../..");

const UP = ["up", "--yes", "--skip-preview", "--non-interactive"];

/** What `labUp` tells of a lab. */
type LabFacts = Awaited<ReturnType<typeof labUp>>;

export interface LabOptions {
  /** A file in stacks/labs/. Default: default. */
  name?: string;
  /** Archive of the real lightningd. Default: $TWOFOLD_LIGHTNINGD_ARCHIVE, else the lab daemon. */
  lightningd?: string | undefined;
  log?: (line: string) => void;
}

export class Lab {
  readonly id: string;
  readonly facts: LabFacts;
  readonly options: LabOptions;

  private constructor(id: string, facts: LabFacts, options: LabOptions) {
    this.id = id;
    this.facts = facts;
    this.options = options;
  }

  /** Brings a lab up, or takes it down again if it does not come up, and says then what was printed last. */
  static async up(options: LabOptions = {}): Promise<Lab> {
    const id = `t${randomBytes(4).toString("hex")}`;
    const said: string[] = [];
    const log = (line: string) => {
      said.push(line);
      (options.log ?? console.log)(line);
    };
    try {
      return new Lab(id, await labUp({ ...options, ...lightningdOf(options), log, id }), options);
    } catch (error) {
      await labDown({ name: options.name, id, log });
      throw new Error(`${(error as Error).message}\n${said.slice(-60).join("\n")}`, { cause: error });
    }
  }

  /** Runs `npm run lab` once more on the same lab. */
  async again(): Promise<void> {
    await labUp({ ...this.options, ...lightningdOf(this.options), id: this.id });
  }

  async down(): Promise<void> {
    await labDown({ name: this.options.name, id: this.id, log: this.options.log ?? console.log });
  }

  get stack(): string {
    return this.facts.stack;
  }

  container(host: string): string {
    const known = this.facts.hosts[host];
    if (known === undefined) throw new Error(`the lab has no host ${host}`);
    return known.container;
  }

  /** `./twofold WORDS -s STACK`; never throws for an exit status. */
  verb(...words: string[]): Promise<Ran> {
    return runProgram(join(ROOT, "twofold"), [...words, "-s", this.stack], { env: this.facts.env });
  }

  /** `./twofold VERB --json`, parsed. */
  async report<T>(...words: string[]): Promise<T> {
    const ran = await this.verb(...words, "--json");
    try {
      return JSON.parse(ran.stdout) as T;
    } catch {
      throw new Error(`${words.join(" ")} printed no JSON (status ${ran.status}): ${ran.stdout}${ran.stderr}`);
    }
  }

  /** `pulumi WORDS` on the lab's stack; a command that reads the config gets the lab's, or `configFile`. */
  pulumi(words: string[], options: { configFile?: string; env?: NodeJS.ProcessEnv } = {}): Promise<Ran> {
    const file = options.configFile ?? this.facts.configFile;
    const config = ["up", "preview", "destroy", "refresh"].includes(words[0] ?? "") ? ["--config-file", file] : [];
    return runProgram("pulumi", [...words, "--stack", this.stack, ...config], {
      cwd: ROOT,
      env: { ...this.facts.env, ...options.env },
    });
  }

  /** `pulumi up` that has to succeed. */
  async up(): Promise<string> {
    return outputOf(await this.tryUp());
  }

  /** `pulumi up`, whatever it ends with; with `configFile` instead of the lab's config. */
  tryUp(options: { configFile?: string } = {}): Promise<Ran> {
    return this.pulumi(UP, options);
  }

  /**
   * A `pulumi up` that is killed (SIGKILL, whole process group) when `when` resolves.
   * @returns Whether that ended it, and the last line that it had printed.
   */
  async killedUp(when: Promise<unknown>): Promise<{ landed: boolean; point: string }> {
    const child = spawn("pulumi", [...UP, "--stack", this.stack, "--config-file", this.facts.configFile], {
      cwd: ROOT,
      env: this.facts.env,
      stdio: ["ignore", "pipe", "ignore"],
      detached: true,
    });
    const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
    let point = "its start";
    createInterface({ input: child.stdout }).on("line", (line) => {
      // Dots say that it works, and nothing of where it stands.
      if (line.trim() !== "" && !line.startsWith("@ ")) point = line.trim();
    });
    await Promise.race([when, ended]);
    try {
      // A group of its own, so the engine, the program and the plugins go at once.
      process.kill(-(child.pid ?? 0), "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
    await ended;
    return { landed: child.signalCode === "SIGKILL", point };
  }

  /** A command line on a host, as root, inside its container: also where SSH is what is tested. */
  async exec(host: string, ...words: string[]): Promise<string> {
    return outputOf(await this.tryExec(host, ...words));
  }

  tryExec(host: string, ...words: string[]): Promise<Ran> {
    return runInside(this.container(host), words);
  }

  docker(...words: string[]): Promise<Ran> {
    return runProgram("docker", words, { env: this.facts.env });
  }

  /** A method of lightningd's RPC through its own lightning-cli on the node's host. */
  async rpc<T>(host: string, method: string, ...parameters: string[]): Promise<T> {
    const words = ["--lightning-dir=/srv/lightning/lightning", "--network=regtest", method, ...parameters];
    const ran = await this.tryExec(host, "runuser", "-u", "bitcoin", "--", "/opt/twofold/bin/lightning-cli", ...words);
    return JSON.parse(outputOf(ran)) as T;
  }

  /** Labels of all invoices, sorted. */
  async labels(host: string): Promise<string[]> {
    const { invoices } = await this.rpc<{ invoices: { label: string }[] }>(host, "listinvoices");
    return invoices.map(({ label }) => label).sort();
  }

  invoice(host: string, label: string): Promise<unknown> {
    return this.rpc(host, "invoice", "1000", label, "twofold");
  }
}

function lightningdOf(options: LabOptions): { lightningd: string | undefined } {
  return { lightningd: options.lightningd ?? process.env.TWOFOLD_LIGHTNINGD_ARCHIVE };
}

/**
 * Waits until `condition` returns something else than undefined or false, and returns that; an error counts as "not yet".
 * @param seconds Deadline; then the last error, or what was waited for, is thrown.
 */
export async function eventually<T>(
  what: string,
  seconds: number,
  condition: () => Promise<T | undefined | false>,
  pollMs = 200,
): Promise<T> {
  const deadline = Date.now() + seconds * 1000;
  let last: unknown;
  for (;;) {
    try {
      const found = await condition();
      if (found !== undefined && found !== false) return found;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      throw new Error(`not within ${seconds} s: ${what}${last instanceof Error ? ` (${last.message})` : ""}`);
    }
    await delay(pollMs);
  }
}
