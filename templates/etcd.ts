/** Renders the files of the etcd stage. */
import { isIP } from "node:net";
import { CLUSTER_PORTS, type ClusterMember, type EtcdDocument, TLS, tlsFiles } from "../scripts/host/contract.ts";
import { fillTemplate } from "./load.ts";
import { mountUnitName } from "./systemd.ts";

/** Beside the package's own default directory, so that a store the package began is never taken for the cluster's. */
export const etcdDefaultDirectory = (cluster: string) => `/var/lib/etcd/${cluster}`;
/** On the host's volume, if it has one; then the default place is a symlink to it. */
export const etcdDataDirectory = ({ cluster, volume }: Pick<EtcdDocument, "cluster" | "volume">) =>
  volume === undefined ? etcdDefaultDirectory(cluster) : `${volume}/etcd/${cluster}`;

/** The name in a certificate that says that its holder is a peer of etcd. */
export const etcdPeerName = (cluster: string) => `etcd-peer.${cluster}.twofold`;

/** An IPv6 address in a URL stands in brackets. */
const inUrl = (address: string) => (isIP(address) === 6 ? `[${address}]` : address);

export function etcdClientUrl({ address }: ClusterMember): string {
  return `https://${inUrl(address)}:${CLUSTER_PORTS.etcdClient}`;
}

export function etcdPeerUrl({ address }: ClusterMember): string {
  return `https://${inUrl(address)}:${CLUSTER_PORTS.etcdPeer}`;
}

/** ETCD_INITIAL_CLUSTER of a store that begins with these members. */
export function firstCluster(members: readonly ClusterMember[]): string {
  return members.map((member) => `${member.host}=${etcdPeerUrl(member)}`).join(",");
}

/**
 * @param state "existing" for a member that joins a cluster which has begun without it.
 * @param initialCluster The members at the time when this one begins; etcd reads it never again.
 */
export function renderEtcdDefault(
  document: EtcdDocument,
  state: "new" | "existing",
  initialCluster = firstCluster(document.members),
): string {
  const { cluster, host, members } = document;
  const own = members.find((member) => member.host === host);
  if (own === undefined) throw new Error(`${host} is no member of etcd in its own document`);
  const any = members.some(({ address }) => isIP(address) === 6) ? "[::]" : "0.0.0.0";
  return fillTemplate("etcd-default", {
    name: host,
    cluster,
    state,
    dataDirectory: etcdDataDirectory(document),
    initialCluster,
    peerUrl: etcdPeerUrl(own),
    clientUrl: etcdClientUrl(own),
    listenPeer: `https://${any}:${CLUSTER_PORTS.etcdPeer}`,
    listenClient: `https://${any}:${CLUSTER_PORTS.etcdClient}`,
    ca: TLS.ca,
    ...tlsFiles("etcd"),
    peerName: etcdPeerName(cluster),
  });
}

export function renderEtcdUnit({ cluster, volume }: EtcdDocument): string {
  // A symlink is there whether its volume is mounted or not: that is waited for (member-volume.conf), and a failed condition never is.
  const condition = volume === undefined ? "ConditionPathExists" : "ConditionPathIsSymbolicLink";
  return fillTemplate("etcd-unit.conf", { begun: `${condition}=${etcdDefaultDirectory(cluster)}` });
}

/** A further drop-in for a unit whose data lies on a volume. */
export function renderMemberVolume(volume: string): string {
  return fillTemplate("member-volume.conf", { volume, mountUnit: mountUnitName(volume) });
}

/** Keeps unattended-upgrades(8) away from packages; an administrator's own `apt upgrade` goes on as ever. */
export function renderAptHold(packages: readonly string[]): string {
  return fillTemplate("apt-hold.conf", { packages: packages.map((name) => `\t"${name}";`).join("\n") });
}
