/**
 * Faults of processes: lightningd is killed, or stopped at a chosen point; a host freezes. And the watch that no fault leads to two
 * lightningds at once. `killHost` is in power.ts, beside the disks.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { eventually } from "../helpers/lab.ts";
import { pauseContainer, resumeContainer } from "../helpers/pause.ts";
import { local, type Machine } from "./machine.ts";

/** Seconds for a signal to have its effect, on a busy machine. */
const EFFECT_SECONDS = 10;
const WATCH_MS = 200;

interface Process {
  pid: number;
  parent: number;
  container: string;
}

/** Processes of this machine whose command line is `wanted`. */
function processes(wanted: (words: string[]) => boolean): Process[] {
  return readdirSync("/proc").flatMap((entry) => {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) return [];
    try {
      if (!wanted(readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0"))) return [];
      const parent = Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
      // The control group names the container, whatever namespaces the process has made.
      const container = /docker[/-]([0-9a-f]{64})/.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[1] ?? "";
      return [{ pid, parent, container }];
    } catch {
      return []; // it ended meanwhile
    }
  });
}

/** Runs lightningd's program; a plugin between fork and exec counts for a moment. */
const isLightningd = (words: string[]) =>
  words.some((word) => word.endsWith("/lightningd")) && words.some((word) => word.startsWith("--conf="));

function lightningdsIn(container: string): number[] {
  const found = processes(isLightningd).filter((one) => one.container === container);
  return found.filter(({ parent }) => !found.some(({ pid }) => pid === parent)).map(({ pid }) => pid);
}

/** Processes of lightningd itself on a host, by this machine's numbers. */
export async function lightningds(host: Machine): Promise<number[]> {
  return lightningdsIn(await containerId(host));
}

const containerId = (host: Machine) => local("docker", "inspect", "--format", "{{.Id}}", host.container);

/** Processes of a host whose command line has these two words in a row, by this machine's numbers. */
export async function processesWith(host: Machine, first: string, second: string): Promise<number[]> {
  const container = await containerId(host);
  const found = processes((words) => words.some((word, index) => word === first && words[index + 1] === second));
  return found.filter((one) => one.container === container).map(({ pid }) => pid);
}

/** The one lightningd of a host. @throws if there is none, or more than one. */
export async function lightningd(host: Machine): Promise<number> {
  const found = await lightningds(host);
  if (found.length !== 1 || found[0] === undefined)
    throw new Error(`${found.length} lightningd run on ${host.name}, expected 1`);
  return found[0];
}

/** `kill -9` of lightningd. systemd starts it again after its RestartSec. */
export async function killLightningd(host: Machine): Promise<void> {
  const pid = await lightningd(host);
  process.kill(pid, "SIGKILL");
  await eventually(`lightningd (${pid}) is dead`, EFFECT_SECONDS, async () => stateOf(pid) === undefined);
}

/**
 * Stops lightningd (SIGSTOP) as soon as `reached` says so, asked without a pause between; so it stands at a point of a commit that lasts
 * for a millisecond.
 * @returns what lets it go on, if it is still there by then; undefined if `reached` did not say so within the deadline
 */
export async function stopLightningdWhen(
  host: Machine,
  seconds: number,
  reached: () => boolean,
): Promise<(() => void) | undefined> {
  const pid = await lightningd(host);
  const deadline = performance.now() + seconds * 1000;
  while (!reached()) if (performance.now() > deadline) return undefined;
  process.kill(pid, "SIGSTOP");
  await eventually(`lightningd (${pid}) stands still`, EFFECT_SECONDS, async () => stateOf(pid) === "T");
  return () => {
    if (stateOf(pid) === "T") process.kill(pid, "SIGCONT");
  };
}

/** One letter (proc_pid_stat(5)); undefined for a process that is gone or a zombie. */
function stateOf(pid: number): string | undefined {
  if (!existsSync(`/proc/${pid}/stat`)) return undefined;
  try {
    const state = /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1];
    return state === "Z" ? undefined : state;
  } catch {
    return undefined;
  }
}

/** Freezes all processes of a host: it is there, and answers nothing. */
export const pauseHost = (host: Machine): Promise<void> => pauseContainer(host.container);

export const resumeHost = (host: Machine): Promise<void> => resumeContainer(host.container);

/** Looks every 200 ms whether more than one lightningd runs on a host. */
export class LightningdWatch {
  readonly #container: string;
  readonly #ended: Promise<void>;
  #stopped = false;
  /** Looks so far that saw one, and the process numbers of every look that saw more. */
  seen = 0;
  readonly doubles: number[][] = [];

  private constructor(container: string) {
    this.#container = container;
    this.#ended = this.#watch();
  }

  static async start(host: Machine): Promise<LightningdWatch> {
    return new LightningdWatch(await containerId(host));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#ended;
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      const found = lightningdsIn(this.#container);
      if (found.length > 0) this.seen++;
      // A process that was just forked may be seen without its parent for one look.
      if (found.length > 1 && lightningdsIn(this.#container).length > 1) this.doubles.push(found);
      await delay(WATCH_MS);
    }
  }
}
