import { BlockList, isIP } from "node:net";
import { isInside, peerAddress, replicaHost, replicaOf } from "../places.ts";
import { diskOf } from "./raid.ts";
import type { Rule } from "./rule.ts";

const PATH = "twofold:node.wallet.replica";

const host: Rule = {
  code: "REPLICA_HOST",
  why: "'local' writes to another disk of the node's host, 'sshfs' and 'nfs' to another host",
  fix: "for another disk of the same host: via: local without 'host'; for another host: name it, with via: sshfs",
  check(topology) {
    const replica = replicaOf(topology);
    if (replica === undefined) return [];
    const own = replicaHost(topology) === topology.node.host;
    if (replica.via === "local" ? own : !own) return [];
    const what =
      replica.via === "local"
        ? "a local replica cannot lie on another host"
        : `a replica over ${replica.via} cannot lie on the node's own host`;
    return [{ path: `${PATH}.host`, what, received: replica.host }];
  },
};

const volume: Rule = {
  code: "REPLICA_VOLUME",
  why: "a replica on the host's root disk fills it or is filled by it, and a full disk stops lightningd; on a volume of its own, a missing mount is noticed",
  fix: "give that host a 'volume' with a device of its own, and the replica a directory inside its mount point",
  check(topology) {
    const replica = replicaOf(topology);
    const name = replicaHost(topology);
    const spec = name === undefined ? undefined : topology.hosts[name];
    if (replica === undefined || spec === undefined) return [];
    if (spec.volume === undefined) {
      return [
        {
          path: `twofold:hosts.${name}.volume`,
          what: `${name} keeps the replica and has no volume for it`,
          received: undefined,
        },
      ];
    }
    return isInside(replica.path, spec.volume.mount)
      ? []
      : [
          {
            path: `${PATH}.path`,
            what: `it does not lie inside ${spec.volume.mount}, the volume of ${name}`,
            received: replica.path,
          },
        ];
  },
};

const insideMain: Rule = {
  code: "REPLICA_INSIDE_MAIN",
  why: "a replica in main's directory, or on main's volume, is lost with main, and whoever cleans up one takes both",
  fix: "name a directory on another volume",
  check(topology) {
    const replica = replicaOf(topology);
    const { mount } = topology.node.volume;
    if (replica === undefined || replicaHost(topology) !== topology.node.host) return [];
    return replica.path === mount || isInside(replica.path, mount)
      ? [{ path: `${PATH}.path`, what: `it lies on main's own volume, ${mount}`, received: replica.path }]
      : [];
  },
};

const mainDevice: Rule = {
  code: "REPLICA_ON_MAIN_DEVICE",
  why: "main and replica on one disk die together: that is one place, not two",
  fix: "give the host's volume a disk that the node's volume does not use",
  check(topology) {
    const { node, hosts } = topology;
    const own = hosts[node.host]?.volume;
    const main = node.volume.devices.map(diskOf);
    return (own?.devices ?? []).flatMap((device, index) =>
      main.includes(diskOf(device))
        ? [
            {
              path: `twofold:hosts.${node.host}.volume.devices[${index}]`,
              what: `the node's volume is on the same disk, ${diskOf(device)}`,
              received: device,
            },
          ]
        : [],
    );
  },
};

const rented: Rule = {
  code: "REPLICA_RENTED",
  why: "lightningd writes the replica unencrypted: whoever can read that host's disks reads every channel and payment (the backup document: not with rented space)",
  fix: "keep the replica on a host of your own, or accept it with acceptRented: true",
  check(topology) {
    const replica = replicaOf(topology);
    const name = replicaHost(topology);
    if (replica === undefined || replica.acceptRented || name === undefined || name === topology.node.host) return [];
    return topology.hosts[name]?.rented
      ? [{ path: `${PATH}.host`, what: `${name} is declared as rented`, received: name }]
      : [];
  },
};

const walOverNfs: Rule = {
  code: "REPLICA_WAL_NFS",
  why: "SQLite's makers rule out WAL on a network filesystem, and unlike over sshfs it was not tried over NFS",
  fix: "remove journalMode (a replica over NFS gets the rollback journal), or use via: sshfs",
  check: (topology) => {
    const { wallet } = topology.node;
    return wallet.kind === "sqlite" && wallet.replica?.via === "nfs" && wallet.journalMode === "wal"
      ? [{ path: "twofold:node.wallet.journalMode", what: "WAL is refused with a replica over NFS", received: "wal" }]
      : [];
  },
};

/** Addresses that are nobody's in the internet: RFC 1918, RFC 6598 (many VPNs), RFC 4193. */
const OWN_NETWORKS = new BlockList();
OWN_NETWORKS.addSubnet("10.0.0.0", 8);
OWN_NETWORKS.addSubnet("172.16.0.0", 12);
OWN_NETWORKS.addSubnet("192.168.0.0", 16);
OWN_NETWORKS.addSubnet("100.64.0.0", 10);
OWN_NETWORKS.addSubnet("fc00::", 7, "ipv6");

/** Neither exports(5) nor another host understands the zone of a link ("fe80::1%eth0"). */
const inOwnNetwork = (address: string) =>
  isIP(address) !== 0 && !address.includes("%") && OWN_NETWORKS.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");

const nfsAddress: Rule = {
  code: "REPLICA_NFS_ADDRESS",
  why: "NFS is neither encrypted nor does it know who asks but by the address: whoever is on the way, or takes that address, reads and rewrites the replica",
  fix: "give the host a peerAddress in a network of your own, as a number (10.…, 172.16.…, 192.168.…, 100.64.…, fd…: a cable or a VPN between the two), or use via: sshfs",
  check(topology) {
    const target = replicaHost(topology);
    if (replicaOf(topology)?.via !== "nfs" || target === undefined) return [];
    return [topology.node.host, target]
      .filter((name) => topology.hosts[name] !== undefined)
      .map((name) => ({ name, address: peerAddress(topology, name) }))
      .filter(({ address }) => !inOwnNetwork(address))
      .map(({ name, address }) => ({
        path: `twofold:hosts.${name}.peerAddress`,
        what: "a replica over NFS needs an IP address in a private network on both sides",
        received: address,
      }));
  },
};

export const REPLICA_RULES: readonly Rule[] = [host, volume, insideMain, mainDevice, rented, walOverNfs, nfsAddress];
