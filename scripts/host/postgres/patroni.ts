/** Patroni's REST API on this host: who is primary, who follows, how far behind. */
import { request } from "node:https";
import { CLUSTER_PORTS, TLS, tlsFiles } from "../contract.ts";
import { readText } from "../read.ts";

/** One member as GET /cluster tells of it (Patroni's documentation, "Patroni REST API"). */
export interface PatroniMember {
  name: string;
  /** leader, sync_standby, quorum_standby, replica, standby_leader. */
  role: string;
  /** running, streaming, starting, stopped, creating replica, … */
  state: string;
  host?: string;
  port?: number;
  timeline?: number;
  /** Bytes behind the primary; "unknown" while it is not known. */
  lag?: number | string;
  pending_restart?: boolean;
}

const TIMEOUT_MS = 4000;

/**
 * Asks this host's Patroni, or the one at `address`. Undefined if it does not answer. Changes need the member's key, which root may read,
 * and a member's address.
 */
export async function askPatroni<T>(
  method: "GET" | "PATCH" | "POST" | "DELETE",
  path: string,
  body?: unknown,
  timeoutMs = TIMEOUT_MS,
  address = "127.0.0.1",
): Promise<{ status: number; value: T | string } | undefined> {
  const files = tlsFiles("postgres");
  const [ca, cert, key] = await Promise.all([readText(TLS.ca), readText(files.certificate), readText(files.key)]);
  if (ca === undefined || cert === undefined || key === undefined) return undefined;
  return new Promise((resolve) => {
    const options = { host: address, port: CLUSTER_PORTS.patroni, method, path, ca, cert, key, timeout: timeoutMs };
    const sent = request(options, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("error", () => resolve(undefined));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, value: parse<T>(text) }));
    });
    sent.on("timeout", () => sent.destroy());
    sent.on("error", () => resolve(undefined));
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function parse<T>(text: string): T | string {
  try {
    return JSON.parse(text) as T;
  } catch {
    return text;
  }
}

/** Members of the cluster; undefined while this host's Patroni, or the one at `address`, does not answer. */
export async function readMembers(address?: string): Promise<PatroniMember[] | undefined> {
  const answer = await askPatroni<{ members?: PatroniMember[] }>("GET", "/cluster", undefined, TIMEOUT_MS, address);
  return answer?.status === 200 && typeof answer.value === "object" ? answer.value.members : undefined;
}

/** The same as the first of `addresses` says it that answers: they all have it from etcd. */
export async function readMembersFrom(
  addresses: readonly (string | undefined)[],
): Promise<PatroniMember[] | undefined> {
  const views = await Promise.all(addresses.map((address) => readMembers(address)));
  return views.find((view) => view !== undefined);
}

/** Whether somebody has told Patroni to leave PostgreSQL alone (`patronictl pause`); undefined while it does not answer. */
export async function readPaused(): Promise<boolean | undefined> {
  const answer = await askPatroni<{ pause?: boolean }>("GET", "/cluster");
  return answer?.status === 200 && typeof answer.value === "object" ? answer.value.pause === true : undefined;
}

/** The settings that all members share, as etcd has them. */
export async function readDynamicConfiguration(): Promise<unknown> {
  const answer = await askPatroni<unknown>("GET", "/config");
  return answer?.status === 200 ? answer.value : undefined;
}

/** Maintenance mode (patronictl pause), of the settings that all members share. What is not known may be it. */
export const isPaused = (configuration: unknown): boolean =>
  typeof configuration !== "object" ||
  configuration === null ||
  ("pause" in configuration && configuration.pause === true);

/** A member that takes part: the primary, or a standby that receives the primary's log as it is written. */
export function takesPart({ role, state }: PatroniMember): boolean {
  return role === "leader" ? state === "running" : state === "streaming";
}

/** The primary, if it runs: the leader's lock outlives its holder for a while. */
export const isRunningPrimary = (member: PatroniMember): boolean => member.role === "leader" && takesPart(member);

/** A standby that has every acknowledged commit. */
export const isSynchronous = ({ role }: Pick<PatroniMember, "role">): boolean =>
  role === "sync_standby" || role === "quorum_standby";

export const memberWords = (members: readonly PatroniMember[]): string =>
  members.map(({ name, role, state }) => `${name} ${role} ${state}`).join(", ");
