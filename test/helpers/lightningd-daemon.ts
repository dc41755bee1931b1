/** Runs a lightningd, the lab daemon or the real one, on this machine: regtest, a directory of its own, no peers. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { LightningdClient } from "./lightningd-client.ts";

/** For a start or an end that takes a second, on a machine that is busy with other things. */
const DEADLINE_MS = 60_000;
const PACK = join(import.meta.dirname, "../../scripts/standins/lightningd/pack.ts");

export interface Installation {
  kind: "lab" | "real";
  lightningd: string;
  cli: string;
  hsmtool: string;
  /** The lab's chain backend plugin, run by this machine's Node. */
  chainBackend: string;
}

/** Packs the lab daemon for this machine's Node and unpacks it, or `archive` in its place, below `directory`. */
export function install(kind: "lab" | "real", directory: string, archive?: string): Installation {
  const packed = join(directory, `${kind}.tar.xz`);
  const chainBackend = join(directory, `${kind}-chain-backend`);
  execFileSync(process.execPath, [PACK, packed, "--node", process.execPath, "--chain-backend", chainBackend]);
  const root = join(directory, kind);
  mkdirSync(root);
  execFileSync("tar", ["-xJf", archive ?? packed, "-C", root]);
  const program = (name: string) => join(root, "usr/bin", name);
  return {
    kind,
    lightningd: program("lightningd"),
    cli: program("lightning-cli"),
    hsmtool: program("lightning-hsmtool"),
    chainBackend,
  };
}

export interface Exit {
  status: number | null;
  signal: NodeJS.Signals | null;
  /** stdout and stderr together. */
  output: string;
}

export interface StartOptions {
  /** lightningd's --lightning-dir; keep it short, the socket's path may have 107 bytes. */
  directory: string;
  /** The DSN of --wallet; without it, lightningd's own default. */
  wallet?: string;
  /** More words of the command line. */
  words?: string[];
}

export class Daemon {
  readonly process: ChildProcess;
  readonly exit: Promise<Exit>;
  readonly socket: string;
  #output = "";
  #exited: Exit | undefined;
  #client: LightningdClient | undefined;

  private constructor(installation: Installation, options: StartOptions) {
    const words = [
      `--lightning-dir=${options.directory}`,
      "--network=regtest",
      "--disable-plugin=bcli",
      `--plugin=${installation.chainBackend}`,
      "--autolisten=false",
      ...(options.wallet === undefined ? [] : [`--wallet=${options.wallet}`]),
      ...(options.words ?? []),
    ];
    this.socket = join(options.directory, "regtest/lightning-rpc");
    this.process = spawn(installation.lightningd, words, { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.process.stdout, this.process.stderr])
      stream?.on("data", (chunk: Buffer) => {
        this.#output += chunk.toString();
      });
    // "close" waits for all who hold the pipes; the real daemon's plugins may outlive a killed daemon for a moment.
    this.exit = once(this.process, "close").then(([status, signal]) => {
      this.#exited = { status, signal, output: this.#output };
      return this.#exited;
    });
  }

  /** Starts a daemon and returns at once. */
  static spawn(installation: Installation, options: StartOptions): Daemon {
    return new Daemon(installation, options);
  }

  /** Starts a daemon and waits until it answers getinfo; rejects if it ends before, or does not within 60 s. */
  static async start(installation: Installation, options: StartOptions): Promise<Daemon> {
    const daemon = new Daemon(installation, options);
    const deadline = Date.now() + DEADLINE_MS;
    for (;;) {
      if (daemon.#exited) throw new Error(`lightningd ended: ${JSON.stringify(daemon.#exited)}`);
      try {
        // The line comes after the socket is this daemon's own, not one that a killed daemon left.
        if (daemon.#output.includes("Server started with public key")) {
          daemon.#client = await LightningdClient.connect(daemon.socket);
          await daemon.#client.getinfo();
          return daemon;
        }
      } catch (error) {
        if (daemon.#exited) throw error;
      }
      if (Date.now() > deadline) {
        await daemon.kill();
        throw new Error(`lightningd does not answer after ${DEADLINE_MS} ms: ${daemon.#output}`);
      }
      await delay(20);
    }
  }

  get client(): LightningdClient {
    if (!this.#client) throw new Error("this daemon was spawned and not waited for");
    return this.#client;
  }

  get running(): boolean {
    return this.#exited === undefined;
  }

  /** Waits for the end of a daemon that should end by itself; kills it and rejects if it goes on for 60 s. */
  async ended(): Promise<Exit> {
    const late = AbortSignal.timeout(DEADLINE_MS);
    const expired = once(late, "abort").then(async () => {
      await this.kill();
      throw new Error(`lightningd did not end within ${DEADLINE_MS} ms: ${this.#output}`);
    });
    return Promise.race([this.exit, expired]);
  }

  /** kill -9, as a crash: nothing is flushed, nothing is closed. */
  async kill(): Promise<Exit> {
    this.process.kill("SIGKILL");
    return this.exit;
  }

  async stop(): Promise<Exit> {
    await this.client.stop();
    return this.exit;
  }
}
