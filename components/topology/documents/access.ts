import type { PeerAccess } from "../../../scripts/host/contract.ts";
import { peerAddress } from "../places.ts";
import type { Topology } from "../schema.ts";

/** The two things for which the node's host reaches another one, each with a key and an account of its own. */
type Purpose = "replica" | "witness";

/** The account on the other host; it can do nothing but serve this purpose for this node. */
export function peerAccount(topology: Topology, purpose: Purpose): string {
  return `twofold-${purpose}-${topology.node.name}`;
}

/** How the node's host reaches `host`. */
export function peerAccess(topology: Topology, host: string, purpose: Purpose): PeerAccess {
  const spec = topology.hosts[host];
  if (spec === undefined) throw new Error(`host ${host} is not declared; the rules were not run on this topology`);
  return {
    host,
    address: peerAddress(topology, host),
    port: spec.peerPort ?? spec.port,
    user: peerAccount(topology, purpose),
    hostKey: spec.hostKey,
    identityFile: `/etc/twofold/keys/${purpose}`,
  };
}
