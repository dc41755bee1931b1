/**
 * The writer (writer.ts) at work on a lab's node, with its record on this machine, where no fault of the lab can reach it.
 *
 * It runs here and speaks to lightningd's own socket below /proc/PID/root. Its clock is this machine's monotonic one, so an acknowledgement
 * can be set before or after the instant of a fault.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { networkDirectory } from "../../components/topology/places.ts";
import type { Topology } from "../../components/topology/schema.ts";
import { eventually } from "../helpers/lab.ts";
import { scratchDirectory } from "../helpers/scratch.ts";
import type { Machine } from "./machine.ts";
import type { WriterEvent } from "./writer.ts";

const WRITER = join(import.meta.dirname, "writer.ts");
/** Seconds after which a writer that nobody stops ends by itself. */
const LONGEST_SECONDS = 600;

export interface Acknowledged {
  label: string;
  /** Monotonic nanoseconds. */
  at: bigint;
}

/** lightningd's RPC socket, as this machine sees it. */
export async function socketOf(node: Machine, topology: Topology): Promise<string> {
  return node.path(`${networkDirectory(topology)}/lightning-rpc`);
}

export class Recorder {
  readonly acknowledged: Acknowledged[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  readonly #directory: string;

  private constructor(child: ChildProcess, directory: string) {
    this.#child = child;
    this.#directory = directory;
    this.#ended = once(child, "close").then(([status]) => status as number | null);
    if (child.stdout === null) throw new Error("the writer has no stdout");
    // Split here and not by readline, whose lines may come after the child's "close".
    let rest = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#note(JSON.parse(line) as WriterEvent);
    });
  }

  #note(event: WriterEvent): void {
    if (event.event === "acknowledged") this.acknowledged.push({ label: event.label, at: BigInt(event.ns) });
  }

  /**
   * @param count invoices to be made; without it, it writes until it is stopped or lightningd is gone
   * @param reconnect seconds for which a lightningd that is gone is tried again
   */
  static async start(
    node: Machine,
    topology: Topology,
    seed: string,
    count?: number,
    reconnect = 0,
  ): Promise<Recorder> {
    const directory = scratchDirectory();
    const socket = await socketOf(node, topology);
    const words = ["--socket", socket, "--seed", seed, "--journal", join(directory, "journal")];
    const bounds = [
      ...["--seconds", `${LONGEST_SECONDS}`, "--reconnect", `${reconnect}`],
      ...(count === undefined ? [] : ["--count", `${count}`]),
    ];
    const child = spawn(process.execPath, [WRITER, ...words, ...bounds], { stdio: ["ignore", "pipe", "inherit"] });
    return new Recorder(child, directory);
  }

  /** Waits until `count` more invoices than now are acknowledged. */
  async more(count: number, seconds: number): Promise<void> {
    const wanted = this.acknowledged.length + count;
    await eventually(`${wanted} invoices are acknowledged`, seconds, async () => this.acknowledged.length >= wanted, 1);
  }

  /** Its exit status: 0 if all invoices were made, 3 if lightningd went away. */
  ended(): Promise<number | null> {
    return this.#ended;
  }

  /** Ends the writer, and returns the labels that it sent without getting any answer: in the wallet or not. */
  async stop(): Promise<string[]> {
    this.#child.kill("SIGKILL");
    await this.#ended;
    const events = readFileSync(join(this.#directory, "journal"), "utf8")
      .split("\n")
      .filter((line) => line.endsWith("}"))
      .map((line) => JSON.parse(line) as WriterEvent);
    rmSync(this.#directory, { recursive: true });
    const answered = new Set(
      events.flatMap((event) => (event.event === "acknowledged" || event.event === "failed" ? [event.label] : [])),
    );
    return events.flatMap((event) => (event.event === "sent" && !answered.has(event.label) ? [event.label] : []));
  }
}
