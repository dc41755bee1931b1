/** Renders the files of the replica stage. */
import { dirname } from "node:path";
import type { ReplicaDocument } from "../scripts/host/contract.ts";
import { fillTemplate } from "./load.ts";
import { unitWord } from "./systemd.ts";

export type ReplicaRemote = NonNullable<ReplicaDocument["remote"]>;
export type ReplicaAccount = NonNullable<ReplicaDocument["account"]>;
export type ReplicaExport = NonNullable<ReplicaDocument["nfs"]>;
/** Numbers of an account. */
export interface Ids {
  uid: number;
  gid: number;
}

/** The unit that mounts a replica on another host; there is one node on a host, so there is one. */
export const REPLICA_UNIT = "twofold-replica.service";
export const REPLICA_UNIT_FILE = `/etc/systemd/system/${REPLICA_UNIT}`;
/** Types of the mounts that it makes, as mountinfo shows them. */
export const REPLICA_MOUNT_TYPES = { sshfs: "fuse.sshfs", nfs: "nfs4" } as const;
export const REPLICA_SSH_CONFIG = "/etc/twofold/replica_ssh_config";
export const REPLICA_KNOWN_HOSTS = "/etc/twofold/replica_known_hosts";

/** Keys that may come in as an account: root's, so that the account can't let in another one. */
export const AUTHORIZED_KEYS_DIRECTORY = "/etc/twofold/authorized_keys";
export const authorizedKeysOf = (account: string) => `${AUTHORIZED_KEYS_DIRECTORY}/${account}`;
export const sshdFileOf = (account: string) => `/etc/ssh/sshd_config.d/${account}.conf`;

/** Read by exportfs(8) beside /etc/exports, which stays the administrator's. */
export const EXPORTS_DIRECTORY = "/etc/exports.d";
export const exportsFileOf = (node: string) => `${EXPORTS_DIRECTORY}/twofold-${node}.exports`;
export const NFS_SERVER = "nfs-server.service";

/** @param ids numbers of the replica's account, as which everybody writes who may mount it */
export function renderReplicaExports(document: ReplicaDocument, { client, volume }: ReplicaExport, ids: Ids): string {
  return fillTemplate("replica-exports", {
    node: document.node,
    directory: document.directory,
    client,
    uid: ids.uid,
    gid: ids.gid,
    mount: volume.mount,
    uuid: volume.uuid,
  });
}

export function renderReplicaSshd({ name, chroot }: ReplicaAccount): string {
  return fillTemplate("replica-sshd.conf", { account: name, chroot, authorizedKeys: authorizedKeysOf(name) });
}

/** The one line of the account's keys: no forwarding, no terminal, whatever sshd's config says. */
export function renderAuthorizedReplica(node: string, publicKey: string): string {
  return `restrict ${publicKey} twofold replica ${node}\n`;
}

export function renderReplicaSshConfig(node: string, remote: ReplicaRemote): string {
  return fillTemplate("replica-ssh_config", {
    node,
    address: remote.address,
    port: remote.port,
    user: remote.user,
    identityFile: remote.identityFile,
    knownHosts: REPLICA_KNOWN_HOSTS,
    hostKeyAlgorithms: hostKeyAlgorithms(remote.hostKey),
  });
}

/** An RSA key signs with SHA-2; "ssh-rsa" as an algorithm means SHA-1, which sshd refuses. */
function hostKeyAlgorithms(hostKey: string): string {
  const type = hostKey.split(" ")[0] ?? "";
  return type === "ssh-rsa" ? "rsa-sha2-512,rsa-sha2-256" : type;
}

/** @param ids numbers of the account that runs lightningd, to which all files of the mount belong */
export function renderReplicaUnit(document: ReplicaDocument, remote: ReplicaRemote, ids: Ids): string {
  return fillTemplate("twofold-replica.service", {
    node: document.node,
    host: remote.host,
    sshConfig: REPLICA_SSH_CONFIG,
    uid: ids.uid,
    gid: ids.gid,
    path: unitWord(remote.path),
    directory: unitWord(document.directory),
  });
}

export function renderNfsReplicaUnit(document: ReplicaDocument, remote: ReplicaRemote): string {
  const address = remote.address.includes(":") ? `[${remote.address}]` : remote.address;
  return fillTemplate("twofold-replica-nfs.service", {
    node: document.node,
    host: remote.host,
    source: unitWord(`${address}:${remote.path}`),
    directory: unitWord(document.directory),
  });
}

/** Files of the node's host, besides the key, which only SSH has. */
export function replicaSourceFiles(
  document: ReplicaDocument,
  remote: ReplicaRemote,
  ids: Ids,
): { path: string; content: string }[] {
  if (document.via === "nfs") return [{ path: REPLICA_UNIT_FILE, content: renderNfsReplicaUnit(document, remote) }];
  return [
    { path: REPLICA_SSH_CONFIG, content: renderReplicaSshConfig(document.node, remote) },
    { path: REPLICA_KNOWN_HOSTS, content: `replica ${remote.hostKey}\n` },
    { path: REPLICA_UNIT_FILE, content: renderReplicaUnit(document, remote, ids) },
  ];
}

/** Parent of all mount points of remote replicas. */
export const mountPointParent = (directory: string) => dirname(directory);
