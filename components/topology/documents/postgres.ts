import { POSTGRES_VERSION, type PostgresDocument } from "../../../scripts/host/contract.ts";
import type { Topology } from "../schema.ts";
import {
  clusterIdentity,
  clusterMembers,
  hostsBesides,
  memberVolume,
  nodeCommonName,
  postgresWallet,
} from "./cluster.ts";

/** The node's role and its database. */
export const postgresRole = ({ node }: Topology) => node.name;
/** The role as which the gate looks at the cluster; it writes nothing. */
export const gateRole = ({ node }: Topology) => `${node.name}_gate`;

/** The host's member of the PostgreSQL cluster, or nothing where it has none. */
export function postgresDocument(topology: Topology, host: string): PostgresDocument | undefined {
  const wallet = postgresWallet(topology);
  if (!wallet?.members.includes(host)) return undefined;
  return {
    stage: "postgres",
    host,
    cluster: topology.node.name,
    ...memberVolume(topology, host),
    version: POSTGRES_VERSION,
    members: clusterMembers(topology, wallet.members),
    others: hostsBesides(topology, wallet.members),
    etcd: clusterMembers(topology, wallet.etcd),
    synchronousStandbys: wallet.synchronousStandbys,
    node: { role: postgresRole(topology), gateRole: gateRole(topology), commonName: nodeCommonName(topology) },
    identity: clusterIdentity(topology, host, "postgres"),
  };
}
