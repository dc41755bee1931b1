import type { Ownership, StorageDocument, VolumeDocument } from "../../../scripts/host/contract.ts";
import {
  ACCOUNT,
  DATABASE_FILE,
  isInside,
  lightningDirectory,
  MOUNT_OPTIONS,
  type PlacedVolume,
  replicaHost,
  replicaOf,
  volumesOf,
  volumeUuid,
} from "../places.ts";
import type { Topology } from "../schema.ts";

const NODE_ALONE: Ownership = { owner: ACCOUNT.name, group: ACCOUNT.name, mode: "0700" };

/** The BTRFS volumes of a host, or nothing where it has none. */
export function storageDocument(topology: Topology, host: string): StorageDocument | undefined {
  const volumes = volumesOf(topology, host);
  if (volumes.length === 0) return undefined;
  return { stage: "storage", host, volumes: volumes.map((volume) => volumeDocument(topology, host, volume)) };
}

function volumeDocument(topology: Topology, host: string, volume: PlacedVolume): VolumeDocument {
  const { node } = topology;
  const { spec } = volume;
  const takeOver = volume.name === "lightning" ? node.takeOver : undefined;
  return {
    name: volume.name,
    uuid: volumeUuid(topology, host, volume),
    label: `${node.name}-${volume.name}`,
    profile: spec.profile,
    devices: spec.devices,
    mount: spec.mount,
    options: [...MOUNT_OPTIONS.before, ...spec.mountOptions, ...MOUNT_OPTIONS.after].join(","),
    minimumDeviceBytes: spec.minimumDeviceBytes,
    directories: directoriesOf(topology, host, volume),
    ...(takeOver === undefined
      ? {}
      : {
          takeOver: { from: takeOver, to: lightningDirectory(topology), holds: walletFiles(topology), ...NODE_ALONE },
        }),
  };
}

/** What makes a lightning directory the one of this node, below it. */
function walletFiles({ node: { network, wallet } }: Topology): string[] {
  return ["hsm_secret", ...(wallet.kind === "sqlite" ? [DATABASE_FILE] : [])].map((name) => `${network}/${name}`);
}

function directoriesOf(topology: Topology, host: string, volume: PlacedVolume): VolumeDocument["directories"] {
  const { mount } = volume.spec;
  const replica = replicaOf(topology);
  if (volume.name === "lightning") return directoryWithParents(mount, lightningDirectory(topology));
  // A remote replica's directory belongs to an account that the replica stage makes.
  if (replica?.via === "local" && replicaHost(topology) === host) return directoryWithParents(mount, replica.path);
  return [];
}

/** Parents belong to root and can be passed through; the directory itself is the node's alone. */
function directoryWithParents(mount: string, directory: string): VolumeDocument["directories"] {
  const parents: string[] = [];
  for (let path = directory; isInside(path, mount); path = path.slice(0, path.lastIndexOf("/"))) parents.unshift(path);
  return parents.map((path) => ({
    path,
    ...(path === directory ? NODE_ALONE : { owner: "root", group: "root", mode: "0755" }),
  }));
}
