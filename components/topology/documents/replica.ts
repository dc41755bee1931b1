import type { ReplicaDocument } from "../../../scripts/host/contract.ts";
import {
  ACCOUNT,
  isInside,
  peerAddress,
  REMOTE_REPLICA_MOUNT,
  REPLICA_IN_CHROOT,
  replicaHost,
  replicaOf,
  volumesOf,
  volumeUuid,
} from "../places.ts";
import type { Topology } from "../schema.ts";
import { peerAccess, peerAccount } from "./access.ts";

/** Directory of the replica as the node's host sees it. */
export function replicaDirectory(topology: Topology): string | undefined {
  const replica = replicaOf(topology);
  if (replica === undefined) return undefined;
  return replica.via === "local" ? replica.path : `${REMOTE_REPLICA_MOUNT}/${topology.node.name}`;
}

/** The same directory as the replica's host sees it. */
export function replicaDirectoryOnItsHost(topology: Topology): string | undefined {
  const replica = replicaOf(topology);
  if (replica === undefined) return undefined;
  return replica.via === "local" ? replica.path : `${replica.path}/${REPLICA_IN_CHROOT}`;
}

/** The host's part in the replica: the node's host writes it, another one may keep it. */
export function replicaDocument(topology: Topology, host: string): ReplicaDocument | undefined {
  const { node } = topology;
  const replica = replicaOf(topology);
  const target = replicaHost(topology);
  const seenBySource = replicaDirectory(topology);
  const seenByTarget = replicaDirectoryOnItsHost(topology);
  if (!replica || !target || !seenBySource || !seenByTarget) return undefined;
  const { via, path } = replica;

  if (host === node.host) {
    return {
      stage: "replica",
      host,
      node: node.name,
      role: "source",
      via,
      directory: seenBySource,
      // An SFTP account sees its chroot as "/"; NFS sees the target's own paths.
      ...(via === "local"
        ? {}
        : {
            remote: {
              ...peerAccess(topology, target, "replica"),
              path: via === "sshfs" ? `/${REPLICA_IN_CHROOT}` : seenByTarget,
            },
          }),
      user: ACCOUNT.name,
      group: ACCOUNT.name,
    };
  }
  if (host !== target) return undefined;
  const account = peerAccount(topology, "replica");
  return {
    stage: "replica",
    host,
    node: node.name,
    role: "target",
    via,
    directory: seenByTarget,
    account: { name: account, chroot: path },
    ...(via === "nfs" ? { nfs: exportOf(topology, target, path) } : {}),
    user: account,
    group: account,
  };
}

/** Who may mount the replica over NFS, and on which volume it lies. */
function exportOf(topology: Topology, target: string, path: string): NonNullable<ReplicaDocument["nfs"]> {
  const volume = volumesOf(topology, target).find(({ spec }) => isInside(path, spec.mount));
  if (volume === undefined)
    throw new Error(`${path} is on no volume of ${target}; the rules were not run on this topology`);
  return {
    client: peerAddress(topology, topology.node.host),
    volume: { mount: volume.spec.mount, uuid: volumeUuid(topology, target, volume) },
  };
}
