/** Who is in the consensus store, as its members have it. */
import { request } from "node:https";
import { etcdClientUrl, etcdPeerUrl } from "../../../templates/etcd.ts";
import { CLUSTER_PORTS, type ClusterMember, type EtcdDocument, TLS, tlsFiles } from "../contract.ts";
import { run } from "../process.ts";
import { readText } from "../read.ts";

/** A member as the others have it. */
export interface KnownMember {
  /** 64 bits: more than a JSON number of JavaScript holds, so it is read as text. */
  id: string;
  /** Empty for one that was added and has not run yet. */
  name: string;
  started: boolean;
  peerUrl: string;
  /** It receives everything and has no vote yet. */
  learner: boolean;
}

/** Words with which etcdctl reaches a member: this host's own, or others. */
export function etcdctlWords(
  endpoints = [`https://127.0.0.1:${CLUSTER_PORTS.etcdClient}`],
  role: "etcd" | "postgres" = "etcd",
): string[] {
  const { key, certificate } = tlsFiles(role);
  return [
    `--endpoints=${endpoints.join(",")}`,
    `--cacert=${TLS.ca}`,
    `--cert=${certificate}`,
    `--key=${key}`,
    "--dial-timeout=2s",
    "--command-timeout=4s",
  ];
}

/** Words with which etcdctl reaches the members other than `host`. */
export function otherMembers(members: readonly ClusterMember[], host: string): string[] {
  return etcdctlWords(members.filter((member) => member.host !== host).map(etcdClientUrl));
}

/** Lines of `etcdctl member list`: ID, status, name, peer URLs, client URLs, learner. */
export function parseMembers(list: string): KnownMember[] {
  return list.split("\n").flatMap((line) => {
    const [id = "", status, name = "", peerUrl = "", , learner] = line.split(", ");
    return id === "" ? [] : [{ id, name, started: status === "started", peerUrl, learner: learner?.trim() === "true" }];
  });
}

/** What a majority says; undefined if there is none to ask. */
export async function listMembers(words: readonly string[]): Promise<KnownMember[] | undefined> {
  const ran = await run("etcdctl", [...words, "member", "list", "--write-out=simple"]);
  return ran.status === 0 ? parseMembers(ran.stdout) : undefined;
}

/** The entry of a host. One that has not run yet has no name. Pure. */
export function memberOf(known: readonly KnownMember[], host: ClusterMember): KnownMember | undefined {
  return known.find(({ name, peerUrl }) => name === host.host || (name === "" && peerUrl === etcdPeerUrl(host)));
}

/** ETCD_INITIAL_CLUSTER of a member that joins: exactly those that are known by now. Pure. */
export function clusterToJoin(known: readonly KnownMember[], { members }: Pick<EtcdDocument, "members">): string {
  return known
    .map(({ id, name, peerUrl }) => {
      const declared = members.find((member) => etcdPeerUrl(member) === peerUrl)?.host;
      return `${name || declared || `member-${id}`}=${peerUrl}`;
    })
    .join(",");
}

const TIMEOUT_MS = 2000;

/**
 * Peer URLs of the members as one peer has them, which it tells without a majority too; undefined if none of `others` answers.
 * What a peer knows may be old: this is only to see whether a store has begun at all.
 */
export async function askPeers(others: readonly ClusterMember[]): Promise<string[] | undefined> {
  const files = tlsFiles("etcd");
  const [ca, cert, key] = await Promise.all([readText(TLS.ca), readText(files.certificate), readText(files.key)]);
  if (ca === undefined || cert === undefined || key === undefined) return undefined;
  const answers = await Promise.all(
    others.map(
      (other) =>
        new Promise<string[] | undefined>((resolve) => {
          const sent = request(`${etcdPeerUrl(other)}/members`, { ca, cert, key, timeout: TIMEOUT_MS }, (response) => {
            let text = "";
            response.setEncoding("utf8").on("data", (chunk: string) => {
              text += chunk;
            });
            response.on("error", () => resolve(undefined));
            response.on("end", () => resolve(parsePeers(text)));
          });
          sent.on("timeout", () => sent.destroy());
          sent.on("error", () => resolve(undefined));
          sent.end();
        }),
    ),
  );
  return answers.find((answer) => answer !== undefined);
}

/** The body of a peer's GET /members. */
export function parsePeers(text: string): string[] | undefined {
  try {
    const members = JSON.parse(text) as { peerURLs?: string[] }[];
    return members.flatMap(({ peerURLs }) => peerURLs ?? []);
  } catch {
    return undefined;
  }
}
