import { WITNESS_DIRECTORY, type WitnessDocument, type WitnessPlace } from "../../../scripts/host/contract.ts";
import { ACCOUNT, DATABASE_FILE, replicaHost, witnessHosts } from "../places.ts";
import type { Topology } from "../schema.ts";
import { peerAccess, peerAccount } from "./access.ts";
import { replicaDirectoryOnItsHost } from "./replica.ts";

/**
 * Every host other than the node's lets the node ask it: for its mark, for the versions of its replica, and, before a first start,
 * whether anything of the node exists there. The node's own host has the directory alone.
 */
export function witnessDocument(topology: Topology, host: string): WitnessDocument | undefined {
  const { node } = topology;
  const document = { stage: "witness", host, directory: WITNESS_DIRECTORY } as const;
  if (host === node.host)
    return { ...document, node: { name: node.name, user: ACCOUNT.name, group: ACCOUNT.name }, writers: [] };
  const directory = replicaHost(topology) === host ? replicaDirectoryOnItsHost(topology) : undefined;
  return {
    ...document,
    writers: [
      {
        node: node.name,
        account: peerAccount(topology, "witness"),
        ...(directory === undefined ? {} : { replica: `${directory}/${DATABASE_FILE}` }),
      },
    ],
  };
}

/** The places that keep the high-water mark, as the gate reaches them. */
export function witnessPlaces(topology: Topology): WitnessPlace[] {
  return witnessHosts(topology).map((host) =>
    host === topology.node.host
      ? { kind: "local", host, directory: WITNESS_DIRECTORY }
      : { kind: "peer", host, access: peerAccess(topology, host, "witness") },
  );
}
