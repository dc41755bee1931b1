/** The JSON-RPC socket: requests one after the other, each answer sent only after the commit of what it changed. */
import { chmodSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { Failure } from "./failure.ts";
import { JsonFrames } from "./json-frames.ts";

/** An error answer; code as in Core Lightning's common/jsonrpc_errors.h. */
export class RpcError extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}
export const RPC = { invalidRequest: -32600, methodNotFound: -32601, invalidParams: -32602, labelExists: 900 } as const;

export type Params = Record<string, unknown>;
export interface Method {
  /** Names of the parameters in the order in which an array gives them; the first `required` of them have to be there. */
  parameters: readonly string[];
  required: number;
  run(params: Params): unknown;
}

export interface RpcServer {
  /** Drops every connection but the one that asked for `stop`, and sends that one its answer. The socket's file stays, as lightningd's. */
  finish(lastResult: unknown): Promise<void>;
}

export interface Handlers {
  methods: Record<string, Method>;
  /** Called after each request and before its answer. */
  commit(): void;
  /** Called with what a method or the commit threw and is no {@link RpcError}: the daemon must not go on. */
  fatal(error: unknown): never;
  stop(): void;
}

/** JSON in lightningd's way: a bigint is a plain number. */
function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, part) => (typeof part === "bigint" ? Number(part) : part));
}

function namedParams(method: Method, given: unknown): Params {
  const params: Params = {};
  if (Array.isArray(given)) {
    if (given.length > method.parameters.length)
      throw new RpcError(
        RPC.invalidParams,
        `too many parameters: got ${given.length}, expected ${method.parameters.length}`,
      );
    for (const [index, value] of given.entries()) params[method.parameters[index] ?? ""] = value;
  } else if (typeof given === "object" && given !== null) {
    for (const [name, value] of Object.entries(given)) {
      if (!method.parameters.includes(name)) throw new RpcError(RPC.invalidParams, `unknown parameter: ${name}`);
      params[name] = value;
    }
  } else throw new RpcError(RPC.invalidParams, "Expected array or object for params");
  for (const name of method.parameters.slice(0, method.required))
    if (params[name] === undefined || params[name] === null)
      throw new RpcError(RPC.invalidParams, `missing required parameter: ${name}`);
  return params;
}

async function isAnswering(path: string): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      done(true);
    });
    socket.once("error", () => done(false));
  });
}

/** Listens on `path`, relative to the working directory, in place of a socket that nobody answers. */
export async function listen(path: string, mode: number, handlers: Handlers): Promise<RpcServer> {
  if (await isAnswering(path)) throw new Failure(`rpc filename '${path}' in use`);
  rmSync(path, { force: true });
  const connections = new Set<Socket>();
  let stopping: { socket: Socket; id: unknown } | undefined;

  function answer(text: string): { id: unknown; result?: unknown; error?: { code: number; message: string } } {
    let id: unknown = null;
    try {
      const request = parseRequest(text);
      id = request.id;
      const method = Object.hasOwn(handlers.methods, request.method) ? handlers.methods[request.method] : undefined;
      if (!method) throw new RpcError(RPC.methodNotFound, `Unknown command '${request.method}'`);
      const result = method.run(namedParams(method, request.params));
      return { id, result };
    } catch (error) {
      if (!(error instanceof RpcError)) handlers.fatal(error);
      return { id, error: { code: error.code, message: error.message } };
    }
  }

  function serve(socket: Socket): void {
    if (stopping) {
      socket.destroy();
      return;
    }
    const frames = new JsonFrames();
    connections.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => connections.delete(socket));
    socket.on("data", (chunk) => {
      let requests: string[];
      try {
        requests = frames.push(chunk);
      } catch {
        socket.destroy();
        return;
      }
      for (const text of requests) {
        if (stopping) return;
        const reply = answer(text);
        try {
          handlers.commit();
        } catch (error) {
          handlers.fatal(error);
        }
        if (reply.result === STOP) {
          stopping = { socket, id: reply.id };
          handlers.stop();
          return;
        }
        socket.write(`${toJson({ jsonrpc: "2.0", ...reply })}\n\n`);
      }
    });
  }

  const server: Server = createServer(serve);
  await new Promise<void>((done, fail) => {
    server.once("error", (error) => fail(new Failure(`Binding rpc socket to '${path}': ${error.message}`)));
    const before = process.umask(0o777 & ~mode);
    server.listen(path, done);
    process.umask(before);
  });
  chmodSync(path, mode);
  return {
    async finish(lastResult) {
      for (const socket of connections) if (socket !== stopping?.socket) socket.destroy();
      if (!stopping) return;
      const { socket, id } = stopping;
      await new Promise<void>((done) => {
        socket.once("close", () => done());
        socket.end(`${toJson({ jsonrpc: "2.0", id, result: lastResult })}\n\n`, () => socket.destroy());
      });
    },
  };
}

/** What the method `stop` returns: the answer comes from {@link RpcServer.finish}, when all is closed. */
export const STOP = Symbol("stop");

function parseRequest(text: string): { id: unknown; method: string; params: unknown } {
  let request: Record<string, unknown>;
  try {
    request = JSON.parse(text) as Record<string, unknown>;
  } catch {
    throw new RpcError(RPC.invalidRequest, "Invalid token in json input");
  }
  const { id, method, params, jsonrpc } = request;
  if (typeof id !== "string" && typeof id !== "number") throw new RpcError(RPC.invalidRequest, "No id");
  if (jsonrpc !== "2.0") throw new RpcError(RPC.invalidRequest, 'jsonrpc: "2.0" must be specified in the request');
  if (typeof method !== "string" || params === undefined)
    throw new RpcError(RPC.invalidRequest, method === undefined ? "No method" : "No params");
  return { id, method, params };
}
