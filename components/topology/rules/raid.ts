import type { RaidProfile } from "../../../scripts/host/contract.ts";
import { type PlacedVolume, volumesOf } from "../places.ts";
import type { Topology } from "../schema.ts";
import type { Rule } from "./rule.ts";

/** Devices that a profile needs (mkfs.btrfs(8), "PROFILES"; raid10 as the kernel wanted it before 5.15, so that it is one). */
export const MINIMUM_DEVICES: Record<RaidProfile, number> = { raid1: 2, raid1c3: 3, raid1c4: 4, raid10: 4 };

/** Names that udev gives to a disk or a partition, and device-mapper names, which their maker chose. by-uuid and by-label name a filesystem. */
const STABLE_NAME = /^\/dev\/(disk\/by-(id|path|partuuid|partlabel)|mapper)\/(?!\.{1,2}$)[^/\s]+$/;

/** A volume with the host on which it lies. */
export interface VolumeOnHost extends PlacedVolume {
  host: string;
}

export function allVolumes(topology: Topology): VolumeOnHost[] {
  const names = new Set([topology.node.host, ...Object.keys(topology.hosts)]);
  return [...names].flatMap((host) => volumesOf(topology, host).map((volume) => ({ ...volume, host })));
}

/** The whole disk of a partition that udev names after its disk: by-id/X-part1 and by-path/X-part1 are parts of X. */
export function diskOf(device: string): string {
  return device.replace(/^(\/dev\/disk\/by-(?:id|path)\/.+)-part\d+$/, "$1");
}

const tooFew: Rule = {
  code: "RAID_TOO_FEW_DEVICES",
  why: "a profile keeps its copies on different devices, and with fewer there is no place for them",
  fix: "declare more devices, or a profile that needs fewer",
  check: (topology) =>
    allVolumes(topology).flatMap(({ spec, path }) => {
      if (spec.profile === "single") return [];
      const minimum = MINIMUM_DEVICES[spec.profile];
      if (spec.devices.length >= minimum) return [];
      return [
        {
          path: `${path}.devices`,
          what: `${spec.profile} needs ${minimum} devices and has ${spec.devices.length}`,
          received: spec.devices,
        },
      ];
    }),
};

const singleOverSeveral: Rule = {
  code: "RAID_SINGLE_DEVICES",
  why: "'single' over several devices is lost as a whole with any one of them",
  fix: "declare raid1 for two devices, or one device",
  check: (topology) =>
    allVolumes(topology)
      .filter(({ spec }) => spec.profile === "single" && spec.devices.length > 1)
      .map(({ spec, path }) => ({
        path: `${path}.devices`,
        what: `a volume without RAID has one device, and this one has ${spec.devices.length}`,
        received: spec.devices,
      })),
};

const unstableName: Rule = {
  code: "RAID_UNSTABLE_NAME",
  why: "names such as /dev/sdb go to another disk when a controller is slow or a disk is gone, and mkfs would go with them; by-uuid and by-label name a filesystem, not a disk",
  fix: "use the name in /dev/disk/by-id (ls -l /dev/disk/by-id), or /dev/disk/by-partuuid for a partition",
  check: (topology) =>
    allVolumes(topology).flatMap(({ spec, path }) =>
      spec.devices.flatMap((device, index) =>
        STABLE_NAME.test(device)
          ? []
          : [{ path: `${path}.devices[${index}]`, what: "this is not a stable name of a disk", received: device }],
      ),
    ),
};

const sameDisk: Rule = {
  code: "RAID_SAME_DISK",
  why: "two places on one disk die together",
  fix: "name another disk for each",
  check: (topology) =>
    allVolumes(topology).flatMap(({ spec, path }) =>
      spec.devices.flatMap((device, index) => {
        const first = spec.devices.findIndex((other) => diskOf(other) === diskOf(device));
        if (first === index) return [];
        const what =
          spec.devices[first] === device
            ? `devices[${first}] is the same device`
            : `devices[${first}] is on the same disk, ${diskOf(device)}`;
        return [{ path: `${path}.devices[${index}]`, what, received: device }];
      }),
    ),
};

export const RAID_RULES: readonly Rule[] = [tooFew, singleOverSeveral, unstableName, sameDisk];
