/** What can be wrong with a host before a member of the cluster begins on it. Parsers and decisions are pure. */
import { readFile, statfs } from "node:fs/promises";
import { request } from "node:https";
import { dirname } from "node:path";
import { etcdClientUrl } from "../../templates/etcd.ts";
import { type ClusterMember, REBUILDING, TLS, tlsFiles } from "./contract.ts";
import { run } from "./process.ts";
import { readText } from "./read.ts";
import { Refusal } from "./stage.ts";

/** A process that takes connections at a port. */
export interface Listener {
  port: number;
  program: string;
  pid: number;
}

/** Lines of `ss --listening --tcp --numeric --processes` (ss(8)). */
export function parseListeners(text: string): Listener[] {
  return text.split("\n").flatMap((line) => {
    const port = /^LISTEN\s+\d+\s+\d+\s+\S+:(\d+)\s/.exec(line)?.[1];
    const [, program = "another program", pid = "0"] = /users:\(\("([^"]*)",pid=(\d+)/.exec(line) ?? [];
    return port === undefined ? [] : [{ port: Number(port), program, pid: Number(pid) }];
  });
}

/** Who listens at one of these ports. */
export async function readListeners(ports: readonly number[]): Promise<Listener[]> {
  const { stdout } = await run("ss", ["--no-header", "--listening", "--tcp", "--numeric", "--processes"]);
  return parseListeners(stdout).filter(({ port }) => ports.includes(port));
}

/** @throws {Refusal} if another program than the unit's own has one of its ports */
export function requirePorts(unit: string, taken: readonly Listener[]): void {
  const [first] = taken;
  if (first === undefined) return;
  throw new Refusal({
    code: "MEMBER-PORT",
    what: `${unit} can't begin: port ${first.port} is taken by another program`,
    received: taken
      .map(({ port, program, pid }) => `port ${port}: ${program}${pid === 0 ? "" : `, process ${pid}`}`)
      .join("; "),
    why: "the other members reach this one at its usual ports, and would meet that program there",
    fix: `see what it is (systemctl status ${first.pid === 0 ? "…" : first.pid}); stop and disable it if it isn't needed, or let the member live on another host`,
  });
}

/** @throws {Refusal} while a store is being made anew. Pure. */
export function requireNoRebuild(unit: string, rebuilding: boolean): void {
  if (!rebuilding) return;
  throw new Refusal({
    code: "ETCD-REBUILDING",
    what: `${unit} is not to be started: the cluster's store is being made anew, and that was not finished`,
    received: `${REBUILDING} on this host`,
    why: "the member with the newest log has to be the primary before any other one starts, or its last commits are lost",
    fix: "./twofold etcd rebuild, which goes on from where it was",
  });
}

/** How far another host's clock is ahead of this one's, in seconds. */
export interface Clock {
  host: string;
  ahead: number;
}

/** Farther apart than any clock that is kept by NTP, and near enough for certificates. */
const CLOCK_SECONDS = 30;
const TIMEOUT_MS = 2000;

/** By the Date of an answer of each member of etcd, which any HTTP server sends; those that don't answer are left out. */
export async function readClocks(members: readonly ClusterMember[], role: "etcd" | "postgres"): Promise<Clock[]> {
  const files = tlsFiles(role);
  const [ca, cert, key] = await Promise.all([readText(TLS.ca), readText(files.certificate), readText(files.key)]);
  if (ca === undefined || cert === undefined || key === undefined) return [];
  const clocks = await Promise.all(
    members.map(
      (member) =>
        new Promise<Clock | undefined>((resolve) => {
          const url = `${etcdClientUrl(member)}/version`;
          const sent = request(url, { ca, cert, key, timeout: TIMEOUT_MS }, (response) => {
            response.resume();
            const ahead = secondsAhead(response.headers.date, Date.now());
            resolve(ahead === undefined ? undefined : { host: member.host, ahead });
          });
          sent.on("timeout", () => sent.destroy());
          sent.on("error", () => resolve(undefined));
          sent.end();
        }),
    ),
  );
  return clocks.filter((clock) => clock !== undefined);
}

/** A date in whole seconds, as HTTP has it, against a time of here in milliseconds. */
export function secondsAhead(date: string | undefined, now: number): number | undefined {
  const there = Date.parse(date ?? "");
  return Number.isNaN(there) ? undefined : Math.round((there - now) / 1000);
}

/** @throws {Refusal} if clocks differ by more than {@link CLOCK_SECONDS} */
export function requireClocks(host: string, clocks: readonly Clock[]): void {
  const off = clocks.filter(({ ahead }) => Math.abs(ahead) > CLOCK_SECONDS);
  if (off.length === 0) return;
  const own = off.length === clocks.length && clocks.length > 1;
  throw new Refusal({
    code: "MEMBER-CLOCK",
    what: own ? `${host}'s clock is not that of the others` : "not all members' clocks say the same",
    received: off
      .map((clock) => `${clock.host} is ${Math.abs(clock.ahead)} s ${clock.ahead > 0 ? "ahead of" : "behind"} ${host}`)
      .join("; "),
    why: "certificates begin and end by the clock, and after a failover nobody could say from the logs what came first",
    fix: `timedatectl on ${own ? host : off.map((clock) => clock.host).join(" and ")} says whether the clock is synchronised; put that right (apt-get install systemd-timesyncd), then run this again`,
  });
}

/** Free bytes of the filesystem on which a path lies or will lie. */
export async function readFreeBytes(path: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return readFreeBytes(dirname(path));
  }
}

/** The first line of postmaster.pid, while a server runs on this directory. */
export async function readPostmaster(dataDirectory: string): Promise<number | undefined> {
  const pid = Number((await readText(`${dataDirectory}/postmaster.pid`))?.split("\n")[0]);
  return Number.isInteger(pid) &&
    pid > 0 &&
    (await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "")).trim() === "postgres"
    ? pid
    : undefined;
}
