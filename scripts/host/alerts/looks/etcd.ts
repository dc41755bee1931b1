/** This host's member of etcd, the others as it reaches them, and its snapshots. */
import { request } from "node:https";
import { etcdClientUrl } from "../../../../templates/etcd.ts";
import { CLUSTER_PORTS, type EtcdDocument, TLS, tlsFiles } from "../../contract.ts";
import { ETCD } from "../../etcd/facts.ts";
import { etcdctlWords } from "../../etcd/members.ts";
import { SNAPSHOT_OLD_MS, type Snapshot, snapshotsOf } from "../../etcd/snapshot.ts";
import { run } from "../../process.ts";
import { readText, readUnits } from "../../read.ts";
import type { Condition } from "../alert.ts";

/** Of the quota; the alarm comes at all of it, and stops every write. */
const NEARLY_FULL_PERCENT = 75;

export interface EtcdHealth {
  endpoint: string;
  health: boolean;
  error?: string;
}

export interface EtcdSeen {
  unit: string;
  /** This member's own answer, which needs no majority; undefined if it gives none. */
  own: { hasLeader: boolean; errors: string[]; dbSize: number } | undefined;
  /** Answers of all members to a read that takes a majority. */
  health: EtcdHealth[];
  /** Bytes at which the running member takes no more writes. */
  quota: number | undefined;
  newestSnapshot: Snapshot | undefined;
}

/** Output of `etcdctl endpoint status --write-out=json` for one endpoint; undefined if it did not answer. */
export function parseEndpointStatus(text: string): EtcdSeen["own"] {
  const [answer] = parseList<{ Status?: { leader?: number; errors?: string[]; dbSize?: number } }>(text);
  if (answer?.Status === undefined) return undefined;
  const { leader = 0, errors = [], dbSize = 0 } = answer.Status;
  return { hasLeader: leader !== 0, errors, dbSize };
}

/** Output of `etcdctl endpoint health --write-out=json`. */
export const parseEndpointHealth = (text: string): EtcdHealth[] => parseList<EtcdHealth>(text);

function parseList<T>(text: string): T[] {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? (value as T[]) : [];
  } catch {
    return [];
  }
}

/** A figure of the text that Prometheus reads (etcd's documentation, "Metrics"). */
export function parseMetric(text: string, name: string): number | undefined {
  const value = new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "m").exec(text)?.[1];
  return value === undefined || Number.isNaN(Number(value)) ? undefined : Number(value);
}

export function judgeEtcd({ host, members }: EtcdDocument, seen: EtcdSeen, now: Date): Condition[] {
  return [...judgeMembers(host, members, seen), ...judgeStore(host, seen), ...judgeSnapshots(host, seen, now)];
}

function judgeMembers(host: string, members: EtcdDocument["members"], { unit, own, health }: EtcdSeen): Condition[] {
  if (own === undefined)
    return [{ code: "ETCD_DOWN", subject: `etcd on ${host}`, value: `it does not answer; ${ETCD.unit} is ${unit}` }];
  const healthOf = (member: EtcdDocument["members"][number]) =>
    health.find(({ endpoint }) => endpoint === etcdClientUrl(member));
  const self = members.find((member) => member.host === host);
  const answersReads = self !== undefined && healthOf(self)?.health === true;
  const alarmed = own.errors.some((error) => error.includes("alarm:"));
  const others = members.filter((member) => member !== self && healthOf(member)?.health !== true);
  if (!own.hasLeader || (!answersReads && !alarmed)) {
    const missing = others.map(({ host: name }) => name).join(", ");
    const why = own.hasLeader ? "it has a leader, and no majority answers a read" : "it has no leader";
    return [
      {
        code: "ETCD_NO_QUORUM",
        subject: `etcd as ${host} sees it`,
        value: `${why}; without an answer: ${missing || "none"}`,
      },
    ];
  }
  // With an alarm every member says that it is unhealthy; which of them answer can't be told then.
  if (alarmed) return [];
  return others.map((member) => ({
    code: "ETCD_MEMBER_DOWN",
    subject: `etcd on ${member.host}`,
    value: healthOf(member)?.error ?? "it does not answer",
  }));
}

function judgeStore(host: string, { own, quota }: EtcdSeen): Condition[] {
  if (own === undefined) return [];
  const subject = `etcd on ${host}`;
  const alarms = own.errors.filter((error) => error.includes("alarm:"));
  const percent = quota === undefined ? undefined : (100 * own.dbSize) / quota;
  return [
    ...(alarms.length > 0 ? [{ code: "ETCD_ALARM" as const, subject, value: alarms.join("; ").trim() }] : []),
    ...(percent !== undefined && percent >= NEARLY_FULL_PERCENT
      ? [
          {
            code: "ETCD_NEARLY_FULL" as const,
            subject,
            value: `${percent.toFixed(0)} % of its quota of ${quota} bytes are in use`,
          },
        ]
      : []),
  ];
}

function judgeSnapshots(host: string, { newestSnapshot: newest }: EtcdSeen, now: Date): Condition[] {
  if (newest !== undefined && now.getTime() - newest.at.getTime() <= SNAPSHOT_OLD_MS) return [];
  const value = newest === undefined ? "there is none" : `the newest is of ${newest.at.toISOString()}`;
  return [{ code: "ETCD_SNAPSHOT_OLD", subject: `snapshots of etcd on ${host}`, value }];
}

export async function lookAtEtcd(document: EtcdDocument, now: Date): Promise<Condition[]> {
  const endpoint = (words: string[], what: string) =>
    run("etcdctl", [...words, "endpoint", what, "--write-out=json"]).then(({ stdout }) => stdout);
  const [units, own, health, metrics, snapshots] = await Promise.all([
    readUnits([ETCD.unit]),
    endpoint(etcdctlWords(), "status"),
    endpoint(etcdctlWords(document.members.map(etcdClientUrl)), "health"),
    readMetrics(),
    snapshotsOf(document.cluster),
  ]);
  const unit = units.get(ETCD.unit);
  const seen: EtcdSeen = {
    unit: unit === undefined ? "not there" : `${unit.active}, ${unit.sub}`,
    own: parseEndpointStatus(own),
    health: parseEndpointHealth(health),
    quota: metrics === undefined ? undefined : parseMetric(metrics, "etcd_server_quota_backend_bytes"),
    newestSnapshot: snapshots.at(-1),
  };
  return judgeEtcd(document, seen, now);
}

const TIMEOUT_MS = 4000;

/** Undefined if this host's member does not answer. */
async function readMetrics(): Promise<string | undefined> {
  const files = tlsFiles("etcd");
  const [ca, cert, key] = await Promise.all([readText(TLS.ca), readText(files.certificate), readText(files.key)]);
  if (ca === undefined || cert === undefined || key === undefined) return undefined;
  return new Promise((resolve) => {
    const options = { host: "127.0.0.1", port: CLUSTER_PORTS.etcdClient, path: "/metrics", ca, cert, key };
    const sent = request({ ...options, timeout: TIMEOUT_MS }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("error", () => resolve(undefined));
      response.on("end", () => resolve(text));
    });
    sent.on("timeout", () => sent.destroy());
    sent.on("error", () => resolve(undefined));
    sent.end();
  });
}
