import { type BaseDocument, POSTGRES_VERSION } from "../../../scripts/host/contract.ts";
import { ACCOUNT, copyHosts, replicaHost, replicaOf, volumesOf } from "../places.ts";
import type { Topology } from "../schema.ts";
import { clusterHosts } from "./cluster.ts";

/** The packages that the other stages of this host need, and the account that runs lightningd. */
export function baseDocument(topology: Topology, host: string): BaseDocument {
  const { node } = topology;
  return {
    ...{ stage: "base", host, packages: packagesOf(topology, host), user: { ...ACCOUNT } },
    ...(host === node.host ? { node: node.name } : {}),
  };
}

function packagesOf(topology: Topology, host: string): string[] {
  const { node, hosts } = topology;
  const packages = new Set<string>();
  const add = (...names: string[]) => {
    for (const name of names) packages.add(name);
  };

  // e2fsprogs has lsattr, which shows whether somebody has switched a directory's checksums off (chattr +C).
  if (volumesOf(topology, host).length > 0) add("btrfs-progs", "cron", "e2fsprogs");
  // Versions of a copy are read with sqlite3 on the host that keeps it.
  if (node.wallet.kind === "sqlite" && copyHosts(topology).includes(host)) add("sqlite3");
  if (replicaOf(topology)?.via === "nfs" && replicaHost(topology) === host) add("nfs-kernel-server");

  // Keys, requests and certificates of a cluster are made with it.
  if (clusterHosts(topology).includes(host)) add("openssl");

  if (host === node.host) {
    // The gate asks the cluster with psql.
    if (node.wallet.kind === "postgres") add(`postgresql-client-${POSTGRES_VERSION}`);
    // What the official release is linked to.
    add("libpq5", "libsodium23", "libsqlite3-0");
    if (!("preinstalled" in node.lightningd)) add("ca-certificates", "curl", "xz-utils");
    if ("release" in node.lightningd) add("gpg", "gpgv");
    if (Object.keys(hosts).length > 1) add("openssh-client");
    const via = replicaOf(topology)?.via;
    if (via === "sshfs") add("sshfs");
    if (via === "nfs") add("nfs-common");
  }
  return [...packages].sort();
}
