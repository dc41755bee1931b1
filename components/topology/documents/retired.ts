import type { RetiredDocument } from "../../../scripts/host/contract.ts";
import type { Topology } from "../schema.ts";
import { clusterMembers, postgresWallet } from "./cluster.ts";

/** What a declared host is no member of, where the wallet is in a cluster; nothing where it is a member of both. */
export function retiredDocument(topology: Topology, host: string): RetiredDocument | undefined {
  const wallet = postgresWallet(topology);
  if (wallet === undefined) return undefined;
  const parts = [
    ...(wallet.members.includes(host) ? [] : ["postgres" as const]),
    ...(wallet.etcd.includes(host) ? [] : ["etcd" as const]),
  ];
  if (parts.length === 0) return undefined;
  return {
    stage: "retired",
    host,
    cluster: topology.node.name,
    parts,
    members: clusterMembers(topology, wallet.members),
    etcd: clusterMembers(topology, wallet.etcd),
    synchronousStandbys: wallet.synchronousStandbys,
  };
}
