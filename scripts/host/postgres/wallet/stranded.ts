/**
 * A lightningd that waits for a server that has stopped without closing its connections: its kernel still answers, so neither keepalives nor
 * tcp_user_timeout end the wait, and libpq has no other. Meanwhile another member has become primary. It commits nothing where it is, so
 * it is ended, and comes back on the primary through the gate.
 */
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { PostgresNodeDocument } from "../../contract.ts";
import { pidFile } from "../../gate/observe.ts";
import { otherUsers } from "../../gate/processes.ts";
import { type ClusterState, readCluster } from "./cluster.ts";

/** A lightningd that is this young may not have opened its database yet. */
const YOUNG_SECONDS = 120;
/** Between two looks: a session that is just being opened is there at the second one. */
const AGAIN_MS = 5000;
/** Of /proc/PID/stat's times a second (proc_pid_stat(5)); 100 on every architecture of Debian. */
const TICKS = 100;

export interface Look {
  cluster: ClusterState;
  /** The lightningd that holds the pid file. */
  lightningd: { pid: number; ageSeconds: number } | undefined;
}

/** Whether lightningd has been running for long, and the primary has no session of it. Pure. */
export function isStranded({ cluster, lightningd }: Look): boolean {
  return (
    cluster.state === "primary" &&
    cluster.sessions.length === 0 &&
    lightningd !== undefined &&
    lightningd.ageSeconds >= YOUNG_SECONDS
  );
}

async function look(document: PostgresNodeDocument): Promise<Look> {
  const [holder] = await otherUsers(pidFile(document), []);
  const cluster = await readCluster(document.wallet);
  if (holder === undefined) return { cluster, lightningd: undefined };
  const ageSeconds = await ageOf(holder.pid);
  return { cluster, lightningd: ageSeconds === undefined ? undefined : { pid: holder.pid, ageSeconds } };
}

async function ageOf(pid: number): Promise<number | undefined> {
  const [stat, uptime] = await Promise.all(
    [`/proc/${pid}/stat`, "/proc/uptime"].map((path) => readFile(path, "utf8").catch(() => "")),
  );
  return parseAge(stat ?? "", uptime ?? "");
}

/** Seconds since a process began, of the texts of /proc/PID/stat and /proc/uptime. Pure. */
export function parseAge(stat: string, uptime: string): number | undefined {
  // The process's name, in parentheses, may hold anything; the start is field 22.
  const started = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]) / TICKS;
  const now = Number(uptime.split(" ")[0]);
  return Number.isFinite(started) && uptime !== "" ? now - started : undefined;
}

/** Ends a lightningd that is stranded at two looks. @returns what was done, in words */
export async function endStranded(document: PostgresNodeDocument): Promise<string | undefined> {
  const first = await look(document);
  if (!isStranded(first)) return undefined;
  await delay(AGAIN_MS);
  const second = await look(document);
  const { cluster, lightningd } = second;
  if (!isStranded(second) || lightningd === undefined || lightningd.pid !== first.lightningd?.pid) return undefined;
  // It can't be asked to stop: it waits for its database.
  process.kill(lightningd.pid, "SIGKILL");
  const server = cluster.state === "primary" ? cluster.server : "unknown";
  return `lightningd (${lightningd.pid}) waited for a server that is no primary any more, and the primary at ${server} had no session of it: it was ended, and comes back there`;
}
