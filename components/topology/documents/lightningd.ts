import type { LightningdDocument, LightningdInstall } from "../../../scripts/host/contract.ts";
import {
  ACCOUNT,
  DATABASE_FILE,
  journalMode,
  lightningDirectory,
  mainDatabase,
  replicaHost,
  replicaOf,
  uploadOf,
} from "../places.ts";
import type { Topology } from "../schema.ts";
import { peerAccess } from "./access.ts";
import { clusterIdentity, clusterMembers, postgresWallet } from "./cluster.ts";
import { gateRole, postgresRole } from "./postgres.ts";
import { replicaDirectory } from "./replica.ts";
import { witnessPlaces } from "./witness.ts";

/** Where Core Lightning's makers publish their releases. */
const RELEASES = "https://github.com/ElementsProject/lightning/releases/download";

/** lightningd on the node's host; nothing on the others. */
export function lightningdDocument(topology: Topology, host: string): LightningdDocument | undefined {
  const { node, hosts } = topology;
  if (host !== node.host) return undefined;
  return {
    stage: "lightningd",
    host,
    node: node.name,
    network: node.network,
    install: installOf(topology),
    directory: lightningDirectory(topology),
    options: node.options,
    wallet: walletOf(topology),
    user: ACCOUNT.name,
    group: ACCOUNT.name,
    mounts: mountsOf(topology),
    witnesses: witnessPlaces(topology),
    peers: Object.keys(hosts)
      .filter((name) => name !== host)
      .sort()
      .map((name) => peerAccess(topology, name, "witness")),
  };
}

function installOf(topology: Topology): LightningdInstall {
  const { lightningd } = topology.node;
  const upload = uploadOf(topology);
  if ("preinstalled" in lightningd) return { kind: "preinstalled", path: lightningd.preinstalled };
  if ("archive" in lightningd) {
    return { kind: "archive", source: upload?.remotePath ?? lightningd.archive, sha256: lightningd.sha256 };
  }
  return {
    kind: "release",
    version: lightningd.release,
    baseUrl: lightningd.baseUrl ?? `${RELEASES}/${lightningd.release}`,
    keyFile: upload?.remotePath ?? lightningd.keyFile,
    fingerprint: lightningd.fingerprint,
  };
}

function walletOf(topology: Topology): LightningdDocument["wallet"] {
  const wallet = postgresWallet(topology);
  if (wallet !== undefined) {
    return {
      kind: "postgres",
      members: clusterMembers(topology, wallet.members),
      role: postgresRole(topology),
      gateRole: gateRole(topology),
      synchronousStandbys: wallet.synchronousStandbys,
      identity: clusterIdentity(topology, topology.node.host, "node"),
    };
  }
  const directory = replicaDirectory(topology);
  const target = replicaHost(topology);
  return {
    kind: "sqlite",
    main: mainDatabase(topology),
    journalMode: journalMode(topology),
    ...(directory === undefined || target === undefined
      ? {}
      : {
          replica: {
            path: `${directory}/${DATABASE_FILE}`,
            peek:
              target === topology.node.host
                ? { kind: "local" as const }
                : { kind: "peer" as const, access: peerAccess(topology, target, "witness") },
          },
        }),
  };
}

/** The volumes on local disks. A remote replica's mount is waited for by the gate: systemd never retries a failed mount job. */
function mountsOf(topology: Topology): string[] {
  const { node, hosts } = topology;
  const own = replicaOf(topology)?.via === "local" ? hosts[node.host]?.volume?.mount : undefined;
  return own === undefined ? [node.volume.mount] : [node.volume.mount, own];
}
