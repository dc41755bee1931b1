import type { CertificateRole, ClusterIdentity, ClusterMember } from "../../../scripts/host/contract.ts";
import { etcdPeerName } from "../../../templates/etcd.ts";
import { peerAddress } from "../places.ts";
import type { Topology, WalletSpec } from "../schema.ts";

export type PostgresWallet = Extract<WalletSpec, { kind: "postgres" }>;

/** The wallet, where it is in PostgreSQL. */
export function postgresWallet({ node }: Topology): PostgresWallet | undefined {
  return node.wallet.kind === "postgres" ? node.wallet : undefined;
}

/** Hosts that have a certificate of the cluster. */
export function clusterHosts(topology: Topology): string[] {
  const wallet = postgresWallet(topology);
  return wallet === undefined ? [] : [...new Set([topology.node.host, ...wallet.members, ...wallet.etcd])].sort();
}

/**
 * The host whose key signs the cluster's certificates: the node's own, which has hsm_secret already. Whoever is root there needs no
 * certificate to take the money, so the key adds nothing to what can be lost with that host.
 */
export function authorityHost({ node }: Topology): string {
  return node.host;
}

/** Hosts as the members reach them, in the order of the topology. */
export function clusterMembers(topology: Topology, names: readonly string[]): ClusterMember[] {
  return names.map((host) => ({ host, address: peerAddress(topology, host) }));
}

/** Mount point of the host's own volume, where it has one: its members' data lies there. */
export function memberVolume({ hosts }: Topology, host: string): { volume?: string } {
  const mount = hosts[host]?.volume?.mount;
  return mount === undefined ? {} : { volume: mount };
}

/** Declared hosts that are not among `members`. */
export function hostsBesides({ hosts }: Topology, members: readonly string[]): string[] {
  return Object.keys(hosts)
    .filter((host) => !members.includes(host))
    .sort();
}

/** Common name of the node's certificate; hosts' names have no dot, so no member's is the same. */
export const nodeCommonName = ({ node }: Topology) => `${node.name}.node`;

/** What a host's certificate of a role says. */
export function clusterIdentity(topology: Topology, host: string, role: CertificateRole): ClusterIdentity {
  const authority = authorityHost(topology);
  if (role === "node") {
    const commonName = nodeCommonName(topology);
    return { role, authority, commonName, names: [commonName] };
  }
  const own = [...new Set([host, peerAddress(topology, host), "localhost", "127.0.0.1"])];
  return {
    role,
    authority,
    // PostgreSQL goes by it: what etcd's account may read must not be a member's.
    commonName: role === "etcd" ? `${host}.etcd` : host,
    names: role === "etcd" ? [...own, etcdPeerName(topology.node.name)] : own,
  };
}
