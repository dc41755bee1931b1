/** A JSON-RPC client for lightningd's socket, over any byte stream: a unix socket here, an SSH channel to one elsewhere. */
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { JsonFrames } from "../../scripts/standins/lightningd/json-frames.ts";

/** The daemon's answer was an error; nothing was committed for it. */
export class RpcFailure extends Error {
  readonly code: number;
  constructor(method: string, error: { code: number; message: string }) {
    super(`${method}: ${error.message} (${error.code})`);
    this.name = "RpcFailure";
    this.code = error.code;
  }
}

/** The connection ended before the answer: whether the request was committed is unknown. */
export class ConnectionLost extends Error {
  constructor(cause: string) {
    super(`connection to lightningd lost: ${cause}`);
    this.name = "ConnectionLost";
  }
}

export interface GetInfo {
  id: string;
  alias: string;
  network: string;
  version: string;
  blockheight: number;
  "lightning-dir": string;
}

export interface Invoice {
  label: string;
  payment_hash: string;
  status: string;
  amount_msat?: number;
  created_index: number;
}

interface Waiting {
  method: string;
  done(result: unknown): void;
  fail(error: Error): void;
}

export class LightningdClient {
  readonly #stream: Duplex;
  readonly #frames = new JsonFrames();
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #lost: ConnectionLost | undefined;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on("data", (chunk: Buffer) => this.#read(chunk));
    stream.on("error", (error) => this.#end(error.message));
    stream.on("close", () => this.#end("closed"));
  }

  /** Connects to a socket's path, which the kernel limits to 107 bytes. */
  static async connect(path: string): Promise<LightningdClient> {
    const socket = connect(path);
    await new Promise<void>((done, fail) => {
      socket.once("connect", done);
      socket.once("error", fail);
    });
    return new LightningdClient(socket);
  }

  /** Sends a request; rejects with {@link RpcFailure} or {@link ConnectionLost}. */
  async call(method: string, params: Record<string, unknown> | unknown[] = {}): Promise<unknown> {
    if (this.#lost) throw this.#lost;
    const id = ++this.#lastId;
    return new Promise((done, fail) => {
      this.#waiting.set(id, { method, done, fail });
      this.#stream.write(`${JSON.stringify({ jsonrpc: "2.0", id, method, params })}\n\n`);
    });
  }

  async getinfo(): Promise<GetInfo> {
    return (await this.call("getinfo")) as GetInfo;
  }

  /** Makes an invoice of 1,000 millisatoshi: one commit of the wallet. */
  async invoice(label: string): Promise<{ payment_hash: string; created_index: number }> {
    const params = { amount_msat: 1000, label, description: "twofold" };
    return (await this.call("invoice", params)) as { payment_hash: string; created_index: number };
  }

  async listinvoices(label?: string): Promise<Invoice[]> {
    const answer = await this.call("listinvoices", label === undefined ? {} : { label });
    return (answer as { invoices: Invoice[] }).invoices;
  }

  async stop(): Promise<void> {
    await this.call("stop");
  }

  close(): void {
    this.#stream.destroy();
  }

  #read(chunk: Buffer): void {
    for (const text of this.#frames.push(chunk)) {
      const answer = JSON.parse(text) as { id: number; result?: unknown; error?: { code: number; message: string } };
      const waiting = this.#waiting.get(answer.id);
      if (!waiting) continue;
      this.#waiting.delete(answer.id);
      if (answer.error) waiting.fail(new RpcFailure(waiting.method, answer.error));
      else waiting.done(answer.result);
    }
  }

  #end(cause: string): void {
    this.#lost ??= new ConnectionLost(cause);
    for (const waiting of this.#waiting.values()) waiting.fail(this.#lost);
    this.#waiting.clear();
  }
}
