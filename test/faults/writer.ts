/**
 * Makes invoices through lightningd's own RPC and keeps the record of what was acknowledged, for proofs that nothing acknowledged is lost.
 * Bundled into one file, it runs on a host with Node 20 or later:
 *
 *   writer --socket PATH --seed WORD --journal FILE [--first N] [--count N] [--seconds S] [--rate N] [--burst N --idle MS] [--reconnect S]
 *
 * Labels are `SEED-N`. The journal is appended with one JSON line before each request is sent and one with its outcome; the acknowledged
 * ones go to stdout too, so that a collector elsewhere holds them even if this host is killed. Ends after --count invoices or --seconds
 * seconds, whichever comes first; at least one of them is required.
 *
 * Exit status: 0 a bound was reached, 3 the connection was lost (for longer than --reconnect), 1 bad options.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { LightningdClient, RpcFailure } from "../helpers/lightningd-client.ts";

/** One line of the journal. `ns` is monotonic (CLOCK_MONOTONIC, comparable between processes of one host until it reboots). */
export type WriterEvent =
  | { event: "start"; ns: string; at: string; seed: string }
  | { event: "connected"; ns: string }
  | { event: "lost"; ns: string; cause: string }
  | { event: "sent"; ns: string; label: string }
  | { event: "acknowledged"; ns: string; label: string; paymentHash: string }
  /** lightningd answered with an error: not in the wallet, unless an earlier unknown request of the same label is. */
  | { event: "failed"; ns: string; label: string; cause: string }
  /** No answer: it may be in the wallet or not. */
  | { event: "unknown"; ns: string; label: string; cause: string }
  | { event: "end"; ns: string; acknowledged: number; failed: number; unknown: number };

type WithoutTime<E> = E extends unknown ? Omit<E, "ns"> : never;

interface Plan {
  socket: string;
  seed: string;
  journal: string;
  first: number;
  count: number;
  seconds: number;
  /** Invoices a second at most. */
  rate: number;
  /** After this many invoices, nothing is sent for `idle` milliseconds. */
  burst: number;
  idle: number;
  /** Seconds for which a lost connection is tried again. */
  reconnect: number;
}

const RETRY_MS = 100;

function readPlan(): Plan {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    options: {
      socket: text,
      seed: text,
      journal: text,
      first: text,
      count: text,
      seconds: text,
      rate: text,
      burst: text,
      idle: text,
      reconnect: text,
    },
  });
  const { socket, seed, journal } = values;
  if (!socket || !seed || !journal) throw new Error("--socket, --seed and --journal are required");
  const number = (name: keyof typeof values, otherwise: number) => {
    const given = values[name];
    if (given === undefined) return otherwise;
    if (!/^\d+(\.\d+)?$/.test(given)) throw new Error(`--${name}: a number is required, received '${given}'`);
    return Number(given);
  };
  if (values.count === undefined && values.seconds === undefined)
    throw new Error("--count or --seconds is required: a writer without an end fills the disk");
  return {
    socket,
    seed,
    journal,
    first: number("first", 1),
    count: number("count", Number.POSITIVE_INFINITY),
    seconds: number("seconds", Number.POSITIVE_INFINITY),
    rate: number("rate", Number.POSITIVE_INFINITY),
    burst: number("burst", Number.POSITIVE_INFINITY),
    idle: number("idle", 0),
    reconnect: number("reconnect", 0),
  };
}

class Writer {
  readonly #plan: Plan;
  readonly #journal: number;
  /** Milliseconds of `performance.now` at which the writer ends. */
  readonly #end: number;
  readonly #outcomes = { acknowledged: 0, failed: 0, unknown: 0 };
  #client: LightningdClient | undefined;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#journal = openSync(plan.journal, "a", 0o600);
    this.#end = performance.now() + plan.seconds * 1000;
  }

  /** True if a bound was reached, false if the connection stayed lost. */
  async run(): Promise<boolean> {
    const { seed, first, count, burst, idle, rate } = this.#plan;
    this.#write({ event: "start", at: new Date().toISOString(), seed });
    let held = true;
    for (let sent = 0; sent < count && !this.#expired; sent++) {
      this.#client ??= await this.#connect();
      if (!this.#client) {
        held = this.#expired;
        break;
      }
      const begun = performance.now();
      await this.#invoice(this.#client, `${seed}-${first + sent}`);
      const pause = (sent + 1) % burst === 0 ? idle : 1000 / rate - (performance.now() - begun);
      if (pause > 0) await delay(Math.min(pause, Math.max(0, this.#end - performance.now())));
    }
    this.#client?.close();
    this.#write({ event: "end", ...this.#outcomes });
    closeSync(this.#journal);
    return held;
  }

  get #expired(): boolean {
    return performance.now() >= this.#end;
  }

  async #invoice(client: LightningdClient, label: string): Promise<void> {
    this.#write({ event: "sent", label });
    const expiry = this.#expiry();
    try {
      const { payment_hash } = await Promise.race([client.invoice(label), expiry.promise]);
      this.#outcomes.acknowledged++;
      const line = this.#write({ event: "acknowledged", label, paymentHash: payment_hash });
      process.stdout.write(line);
    } catch (error) {
      const cause = (error as Error).message;
      if (error instanceof RpcFailure) {
        this.#outcomes.failed++;
        this.#write({ event: "failed", label, cause });
        return;
      }
      this.#outcomes.unknown++;
      this.#write({ event: "unknown", label, cause });
      client.close();
      this.#client = undefined;
    } finally {
      expiry.cancel();
    }
  }

  /** Rejects when the writer's time is over: a daemon that hangs must not keep it. */
  #expiry(): { promise: Promise<never>; cancel(): void } {
    let timer: NodeJS.Timeout | undefined;
    const promise = new Promise<never>((_, fail) => {
      if (Number.isFinite(this.#end))
        timer = setTimeout(() => fail(new Error("no answer within the writer's time")), this.#end - performance.now());
    });
    return { promise, cancel: () => clearTimeout(timer) };
  }

  async #connect(): Promise<LightningdClient | undefined> {
    const end = Math.min(this.#end, performance.now() + this.#plan.reconnect * 1000);
    for (;;) {
      try {
        const client = await LightningdClient.connect(this.#plan.socket);
        this.#write({ event: "connected" });
        return client;
      } catch (error) {
        this.#write({ event: "lost", cause: (error as Error).message });
      }
      if (performance.now() >= end) return undefined;
      await delay(RETRY_MS);
    }
  }

  #write(event: WithoutTime<WriterEvent>): string {
    const line = `${JSON.stringify({ ...event, ns: String(process.hrtime.bigint()) })}\n`;
    writeSync(this.#journal, line);
    return line;
  }
}

let plan: Plan;
try {
  plan = readPlan();
} catch (error) {
  process.stderr.write(`writer: ${(error as Error).message}\n`);
  process.exit(1);
}
const held = await new Writer(plan).run();
process.exitCode = held ? 0 : 3;
