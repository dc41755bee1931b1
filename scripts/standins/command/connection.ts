/** SSH connections as the real plugin makes them: one a command, with retries. */
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import ssh2, { type Client, type ServerHostKeyAlgorithm } from "ssh2";
import type { ObjectShape } from "../inputs.ts";
import type { Progress } from "../serve.ts";
import { isRecord, isSecret, isUnknown, type Properties, secret } from "../wire.ts";

export interface Connection {
  host: string;
  port: number;
  user: string;
  /** A private key in OpenSSH or PEM format, without a passphrase. */
  privateKey?: string;
  /** Socket of an SSH agent; SSH_AUTH_SOCK if absent. */
  agentSocketPath?: string;
  /** The pinned host key, "ssh-ed25519 AAAA…". Absent: any host is accepted. */
  hostKey?: string;
  /** Attempts after the first, -1 for no end. */
  dialErrorLimit: number;
  /** Seconds for one attempt, 0 for no end. */
  perDialTimeout: number;
}

export const connectionShape: ObjectShape = {
  object: {
    host: "string",
    port: "number",
    user: "string",
    privateKey: "string",
    agentSocketPath: "string",
    hostKey: "string",
    dialErrorLimit: "number",
    perDialTimeout: "number",
  },
  required: ["host"],
};

const DEFAULTS = { user: "root", port: 22, dialErrorLimit: 10, perDialTimeout: 15 };

/** The inputs with the connection's defaults filled in and the connection marked secret. */
export function withConnectionDefaults(inputs: Properties): Properties {
  const given = inputs.connection;
  if (given === undefined || isUnknown(given)) return inputs;
  const inner = isSecret(given) ? (given as { value: unknown }).value : given;
  return isRecord(inner) ? { ...inputs, connection: secret({ ...DEFAULTS, ...inner }) } : inputs;
}

const stop = new AbortController();

/** Ends every wait for a next attempt: the operator interrupted Pulumi. */
export function stopDialling(): void {
  stop.abort();
}

// Pauses between attempts, as in Pulumi's retry package: 100 ms, each 1.5 times the one before, 5 s at most.
const FIRST_PAUSE_MS = 100;
const PAUSE_FACTOR = 1.5;
const LONGEST_PAUSE_MS = 5000;

/**
 * Connects and authenticates, trying again after any failure, a wrong host key included.
 * @throws Error "after N failed attempts: REASON"; at once if the connection itself makes no sense.
 */
export async function dial(connection: Connection, progress: Progress): Promise<Client> {
  const attempt = await prepare(connection);
  const limit = connection.dialErrorLimit;
  let pause = FIRST_PAUSE_MS;
  for (let failed = 1; ; failed++) {
    try {
      return await attempt();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (limit > -1 && failed > limit) throw new Error(`after ${failed - 1} failed attempts: ${reason}`);
      await progress(`Dial ${failed}/${limit === -1 ? "inf" : limit} failed: retrying`);
      await delay(pause, undefined, { signal: stop.signal });
      pause = Math.min(pause * PAUSE_FACTOR, LONGEST_PAUSE_MS);
    }
  }
}

/** Checks what no second attempt can mend, and gives back how to make one attempt. */
async function prepare(connection: Connection): Promise<() => Promise<Client>> {
  const { host, port, user, privateKey, hostKey } = connection;
  const pinned = hostKey === undefined ? undefined : parsePublicKey(hostKey);
  if (privateKey !== undefined && ssh2.utils.parseKey(privateKey) instanceof Error) {
    throw new Error(`the private key for ${user}@${host} cannot be read: it must be an unencrypted OpenSSH or PEM key`);
  }
  // The real plugin opens the agent even if it has a private key, fails if it can't, and then asks the agent only if there
  // is no private key (Go's SSH client tries "publickey" once).
  const agent = connection.agentSocketPath ?? process.env.SSH_AUTH_SOCK;
  if (agent !== undefined && agent !== "") await canOpen(agent);

  return () =>
    new Promise((resolve, reject) => {
      let shown: Buffer | undefined;
      const client = new ssh2.Client();
      client.once("ready", () => resolve(client));
      // Stays for the client's whole life: an error after "ready" ends the command's channel, which says so itself.
      client.on("error", (error) => {
        const mismatch = pinned !== undefined && shown !== undefined && !shown.equals(pinned.blob);
        reject(
          mismatch
            ? new Error(
                `ssh: handshake failed: ssh: host key mismatch: ${host}:${port} is not the host whose key is pinned`,
              )
            : new Error(`dial ${host}:${port}: ${error.message}`),
        );
      });
      client.once("close", () => reject(new Error(`dial ${host}:${port}: closed by the host`)));
      client.connect({
        host,
        port,
        username: user,
        ...(privateKey === undefined ? (agent ? { agent } : {}) : { privateKey }),
        readyTimeout: connection.perDialTimeout * 1000,
        ...(pinned === undefined ? {} : { algorithms: { serverHostKey: [pinned.type] } }),
        hostVerifier: (key: Buffer) => {
          shown = key;
          return pinned === undefined || key.equals(pinned.blob);
        },
      });
    });
}

function parsePublicKey(hostKey: string): { type: ServerHostKeyAlgorithm; blob: Buffer } {
  const parsed = ssh2.utils.parseKey(hostKey);
  if (parsed instanceof Error || Array.isArray(parsed)) {
    throw new Error(`failed to parse host key: expected "ssh-ed25519 AAAA…", received ${JSON.stringify(hostKey)}`);
  }
  return { type: parsed.type as ServerHostKeyAlgorithm, blob: parsed.getPublicSSH() };
}

function canOpen(socketPath: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    socket.once("connect", () => {
      socket.destroy();
      resolve();
    });
    socket.once("error", (error) => reject(new Error(`dial unix ${socketPath}: ${error.message}`)));
  });
}
