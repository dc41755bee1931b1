import type { EtcdDocument } from "../../../scripts/host/contract.ts";
import type { Topology } from "../schema.ts";
import { clusterIdentity, clusterMembers, hostsBesides, memberVolume, postgresWallet } from "./cluster.ts";

/** The host's member of etcd, or nothing where it has none. */
export function etcdDocument(topology: Topology, host: string): EtcdDocument | undefined {
  const wallet = postgresWallet(topology);
  if (!wallet?.etcd.includes(host)) return undefined;
  return {
    stage: "etcd",
    host,
    cluster: topology.node.name,
    ...memberVolume(topology, host),
    members: clusterMembers(topology, wallet.etcd),
    others: hostsBesides(topology, wallet.etcd),
    identity: clusterIdentity(topology, host, "etcd"),
  };
}
