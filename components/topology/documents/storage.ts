import type { StorageDocument, VolumeDocument } from "../../../scripts/host/contract.ts";
import {
  ACCOUNT,
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
      : { takeOver: { from: takeOver, to: lightningDirectory(topology), owner: ACCOUNT.name, group: ACCOUNT.name } }),
  };
}

function directoriesOf(topology: Topology, host: string, volume: PlacedVolume): VolumeDocument["directories"] {
  const { mount } = volume.spec;
  const replica = replicaOf(topology);
  if (volume.name === "lightning") {
    const directory = lightningDirectory(topology);
    // A directory that is taken over brings itself.
    return directoryWithParents(mount, directory, topology.node.takeOver !== undefined);
  }
  // A remote replica's directory belongs to an account that the replica stage makes.
  if (replica?.via === "local" && replicaHost(topology) === host) {
    return directoryWithParents(mount, replica.path, false);
  }
  return [];
}

/** Parents belong to root and can be passed through; the directory itself is the node's alone. */
function directoryWithParents(mount: string, directory: string, parentsOnly: boolean): VolumeDocument["directories"] {
  const parents: string[] = [];
  for (let path = directory; isInside(path, mount); path = path.slice(0, path.lastIndexOf("/"))) parents.unshift(path);
  return parents
    .filter((path) => !(parentsOnly && path === directory))
    .map((path) =>
      path === directory
        ? { path, owner: ACCOUNT.name, group: ACCOUNT.name, mode: "0700" }
        : { path, owner: "root", group: "root", mode: "0755" },
    );
}
