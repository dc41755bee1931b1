/**
 * What follows from a topology: which host keeps what, and where it lies. Pure; rules, documents, survival table and verbs share it.
 */
import { createHash } from "node:crypto";
import { type JournalMode, PROGRAM_DIRECTORY } from "../../scripts/host/contract.ts";
import type { ReplicaSpec, Topology, VolumeSpec } from "./schema.ts";

/** Where the other hosts reach this one. */
export function peerAddress({ hosts }: Topology, host: string): string {
  const spec = hosts[host];
  if (spec === undefined) throw new Error(`host ${host} is not declared; the rules were not run on this topology`);
  return spec.peerAddress ?? spec.address;
}

/** The account that runs lightningd, and its primary group. */
export const ACCOUNT = { name: "bitcoin", home: "/var/lib/bitcoin" } as const;
/** Name of the main database file and of its replica (the backup document: "the same filename for both"). */
export const DATABASE_FILE = "lightningd.sqlite3";
/** Where the node's host mounts a replica that lies on another host. */
export const REMOTE_REPLICA_MOUNT = "/var/lib/twofold-replica";
/** Directory of a remote replica inside its account's chroot, which sshd wants owned by root and thus not writable by the account. */
export const REPLICA_IN_CHROOT = "wallet";

/**
 * Mount options of every volume, before and after those that the topology gives. "defaults,autodefrag" is the backup document's own line.
 * A missing disk must not keep the host from booting, since it is then reached over SSH to be repaired: nofail and a short wait; the
 * gate sees to it that lightningd does not start.
 */
export const MOUNT_OPTIONS = {
  before: ["defaults", "autodefrag"],
  after: ["nofail", "x-systemd.device-timeout=30s"],
} as const;

/** Core Lightning's --lightning-dir. */
export function lightningDirectory({ node }: Topology): string {
  return node.directory ?? `${node.volume.mount}/lightning`;
}

/** Core Lightning's directory of one network, which holds database, hsm_secret and socket (common/configdir.c). */
export function networkDirectory(topology: Topology): string {
  return `${lightningDirectory(topology)}/${topology.node.network}`;
}

export function mainDatabase(topology: Topology): string {
  return `${networkDirectory(topology)}/${DATABASE_FILE}`;
}

/** The declared replica, if the wallet has one. */
export function replicaOf({ node }: Topology): ReplicaSpec | undefined {
  return node.wallet.kind === "sqlite" ? node.wallet.replica : undefined;
}

/** Host that keeps the replica, if there is one. */
export function replicaHost(topology: Topology): string | undefined {
  const replica = replicaOf(topology);
  return replica && (replica.host ?? topology.node.host);
}

/**
 * Journal mode of main and replica. WAL, since lightningd's own default loses the last acknowledged commit at a power cut (20 of 20
 * times, and WAL 0 of 20); over sshfs too, where 100 cuts of either host lost nothing in WAL mode. Over NFS SQLite's makers rule it out.
 */
export function journalMode({ node: { wallet } }: Topology): JournalMode {
  if (wallet.kind !== "sqlite") return "wal";
  return wallet.journalMode ?? (wallet.replica?.via === "nfs" ? "delete" : "wal");
}

/** Hosts that keep a copy of the wallet: main and replica, or the data of a PostgreSQL cluster. */
export function copyHosts(topology: Topology): string[] {
  const { wallet, host } = topology.node;
  if (wallet.kind === "postgres") return [...new Set(wallet.members)];
  return [...new Set([host, replicaHost(topology) ?? host])];
}

/** Hosts that are far from the wallet: those without a copy of it, else those other than the node's. */
export function hostsApart(topology: Topology): string[] {
  const others = Object.keys(topology.hosts)
    .filter((name) => name !== topology.node.host)
    .sort();
  const apart = others.filter((name) => !copyHosts(topology).includes(name));
  return apart.length > 0 ? apart : others;
}

/**
 * Hosts that keep the high-water mark: the declared ones, else the farthest that there are. The node's own is always one of them,
 * on its root disk: it costs nothing, and knows more than nothing on a day when the others are not asked. With PostgreSQL it is the
 * only one by default: the gate waits for a witness that does not answer, and a dead member is to stop nothing.
 */
export function witnessHosts(topology: Topology): string[] {
  const { node } = topology;
  return [...new Set([node.host, ...(node.witness ?? (node.wallet.kind === "postgres" ? [] : hostsApart(topology)))])];
}

/** A BTRFS volume on a host, with the name that messages use. */
export interface PlacedVolume {
  name: "lightning" | "replica" | "database";
  spec: VolumeSpec;
  /** The key of the stack's config that declares it. */
  path: string;
}

/** The volumes of a host: the node's on the node's host, and the host's own, which holds a replica or the data of the cluster's members. */
export function volumesOf(topology: Topology, host: string): PlacedVolume[] {
  const own = topology.hosts[host]?.volume;
  const name = topology.node.wallet.kind === "postgres" ? ("database" as const) : ("replica" as const);
  return [
    ...(host === topology.node.host
      ? [{ name: "lightning" as const, spec: topology.node.volume, path: "twofold:node.volume" }]
      : []),
    ...(own ? [{ name, spec: own, path: `twofold:hosts.${host}.volume` }] : []),
  ];
}

/**
 * UUID of a volume's filesystem: the declared one, or one derived from names that stay when devices or profile change.
 * The stack is among them because two filesystems with one UUID can't be mounted on one machine, and labs share one.
 * Version 8 of RFC 9562 (made by a rule of one's own), from SHA-256.
 */
export function volumeUuid(topology: Topology, host: string, volume: PlacedVolume): string {
  if (volume.spec.uuid !== undefined) return volume.spec.uuid.toLowerCase();
  const words = ["twofold volume", topology.stack, topology.node.name, host, volume.name, volume.spec.mount];
  const bytes = createHash("sha256").update(words.join("\0")).digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** True if `path` lies strictly inside `directory`. */
export function isInside(path: string, directory: string): boolean {
  return path.startsWith(directory === "/" ? "/" : `${directory}/`) && path !== directory;
}

/** A file of the operator's machine that a stage reads on the node's host. */
export interface Upload {
  /** Path on the operator's machine, as written in the config. */
  file: string;
  /** Path on the host; it names the content, so that another content is another file. */
  remotePath: string;
}

/** The archive of lightningd or the key of a release's signer, where the config names a file of the operator's machine. */
export function uploadOf({ node: { lightningd } }: Topology): Upload | undefined {
  if ("release" in lightningd) {
    return {
      file: lightningd.keyFile,
      remotePath: `${PROGRAM_DIRECTORY}/release-key-${lightningd.fingerprint}.asc`,
    };
  }
  if ("archive" in lightningd && !isUrl(lightningd.archive)) {
    return { file: lightningd.archive, remotePath: `${PROGRAM_DIRECTORY}/lightningd-${lightningd.sha256}.archive` };
  }
  return undefined;
}

export function isUrl(text: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
}
