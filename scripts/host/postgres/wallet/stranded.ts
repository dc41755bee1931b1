/**
 * A lightningd that waits for a server that is no primary any more: one that has stopped without closing its connections, whose kernel still
 * answers, so that neither keepalives nor tcp_user_timeout end the wait; or one that runs on though another member was promoted, where a commit
 * waits for a standby for ever. It commits nothing where it is, so it is ended, and comes back on the primary through the gate.
 */
import { lookup } from "node:dns/promises";
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { CLUSTER_PORTS, type PostgresNodeDocument } from "../../contract.ts";
import { pidFile } from "../../gate/observe.ts";
import { otherUsers } from "../../gate/processes.ts";
import { type ClusterState, flushedBy, readCluster } from "./cluster.ts";

/** Between two looks, longer than libpq tries to connect: a lightningd that is just starting has its session at the second one, or has ended. */
const AGAIN_MS = 2500;

export interface Look {
  cluster: ClusterState;
  /** Standbys that have to have flushed. */
  required: number;
  /** The lightningd that holds the pid file. */
  lightningd: number | undefined;
  /** Members that this host's node is connected to. */
  connected: string[];
}

/** Whether lightningd is connected to members, and not to the one that is primary and has its standbys. Pure. */
export function isStranded({ cluster, required, lightningd, connected }: Look): boolean {
  return (
    cluster.state === "primary" &&
    flushedBy(cluster).length >= required &&
    cluster.sessions.length === 0 &&
    lightningd !== undefined &&
    connected.length > 0 &&
    !connected.includes(cluster.server)
  );
}

async function look(document: PostgresNodeDocument): Promise<Look> {
  const [holder] = await otherUsers(pidFile(document), []);
  const { wallet } = document;
  const required = wallet.synchronousStandbys;
  // Before the cluster is asked, since that too makes connections of this user.
  const connected = holder === undefined ? [] : await connectedTo(holder.pid, wallet.members);
  return { cluster: await readCluster(wallet), required, lightningd: holder?.pid, connected };
}

/** Addresses of those of `members` whose PostgreSQL this user has a connection to. */
async function connectedTo(pid: number, members: PostgresNodeDocument["wallet"]["members"]): Promise<string[]> {
  const tables = await Promise.all(
    ["tcp", "tcp6"].map((table) => readFile(`/proc/${pid}/net/${table}`, "utf8").catch(() => "")),
  );
  const peers = tables.flatMap((text) => parsePeers(text, CLUSTER_PORTS.postgres, process.getuid?.() ?? 0));
  const named = await Promise.all(
    members.map(async ({ address }) => ({
      address,
      found: (await lookup(address, { all: true }).catch(() => [])).map((one) => canonical(one.address)),
    })),
  );
  return named.filter(({ found }) => found.some((one) => peers.includes(one))).map(({ address }) => address);
}

/**
 * Addresses to which a user has an open connection at `port`, of the text of /proc/PID/net/tcp or tcp6 (proc_pid_net(5)): addresses are
 * written as the kernel holds them, in words of the machine's own order. Pure.
 */
export function parsePeers(text: string, port: number, uid: number): string[] {
  return text
    .split("\n")
    .map((line) => /^\s*\d+: \S+ ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) 01 \S+ \S+ \S+ +(\d+) /.exec(line))
    .filter((match) => match !== null && Number.parseInt(match[2] ?? "", 16) === port && Number(match[3]) === uid)
    .map((match) => {
      const words = (match?.[1] ?? "").match(/.{8}/g) ?? [];
      const bytes = words.flatMap((word) => [...Buffer.from(word, "hex").reverse()]);
      if (bytes.length === 4) return bytes.join(".");
      const groups = Array.from({ length: 8 }, (_, group) => bytes.slice(2 * group, 2 * group + 2));
      return canonical(groups.map((pair) => Buffer.from(pair).toString("hex")).join(":"));
    });
}

/** One spelling of an IP address; an IPv4 one in the form of IPv6 is the IPv4 one. */
function canonical(address: string): string {
  if (!address.includes(":")) return address;
  const short = new URL(`http://[${address.replace(/%.*$/, "")}]`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]+):([0-9a-f]+)$/.exec(short);
  if (mapped === null) return short;
  return [mapped[1] ?? "", mapped[2] ?? ""]
    .map((group) => Number.parseInt(group, 16))
    .flatMap((group) => [group >> 8, group & 255])
    .join(".");
}

/** Ends a lightningd that is stranded at two looks. @returns what was done, in words */
export async function endStranded(document: PostgresNodeDocument): Promise<string | undefined> {
  const first = await look(document);
  if (!isStranded(first)) return undefined;
  await delay(AGAIN_MS);
  const second = await look(document);
  const { cluster, lightningd, connected } = second;
  if (!isStranded(second) || lightningd === undefined || lightningd !== first.lightningd) return undefined;
  // It can't be asked to stop: it waits for its database.
  process.kill(lightningd, "SIGKILL");
  const server = cluster.state === "primary" ? cluster.server : "unknown";
  return `lightningd (${lightningd}) waited for ${connected.join(", ")}, which is no primary any more, and the primary at ${server} had no session of it: it was ended, and comes back there`;
}
