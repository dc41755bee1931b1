import { isInside, MOUNT_OPTIONS } from "../places.ts";
import { allVolumes } from "./raid.ts";
import type { Rule } from "./rule.ts";

/** Directories that the system or twofold itself needs; a volume over one of them, or inside the volatile ones, breaks the host. */
const SYSTEM = ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/tmp", "/usr"];
/** Full of what belongs to others, who may well have a directory of the node in it. */
const OCCUPIED = [
  "/home",
  "/mnt",
  "/media",
  "/opt",
  "/root",
  "/srv",
  "/var",
  "/var/lib",
  "/var/log",
  "/var/tmp",
  "/var/cache",
];
const OURS = ["/opt/twofold", "/var/lib/twofold", "/var/lib/twofold-replica", "/var/lib/etcd", "/var/lib/postgresql"];

/** True of a directory that can be nobody's own. */
export const isReserved = (directory: string): boolean =>
  OCCUPIED.includes(directory) || [...SYSTEM, ...OURS].some((path) => directory === path || isInside(directory, path));

const reservedMount: Rule = {
  code: "VOLUME_MOUNT_RESERVED",
  why: "a filesystem that is mounted there hides what the system or twofold keeps there",
  fix: "use a directory of its own, such as /srv/lightning",
  check: (topology) =>
    allVolumes(topology)
      .filter(({ spec: { mount } }) => isReserved(mount) || isInside(mount, "/root"))
      .map(({ spec, path }) => ({
        path: `${path}.mount`,
        what: "a volume cannot be mounted at this place",
        received: spec.mount,
      })),
};

const nestedMounts: Rule = {
  code: "VOLUME_MOUNT_NESTED",
  why: "if the outer volume is missing at a boot, the inner one is mounted beneath it and disappears when it comes back",
  fix: "mount the two beside each other",
  check: (topology) => {
    const volumes = allVolumes(topology);
    return volumes.flatMap((volume) =>
      volumes
        .filter(
          (other) =>
            other !== volume &&
            other.host === volume.host &&
            (isInside(volume.spec.mount, other.spec.mount) ||
              (volume.spec.mount === other.spec.mount && volumes.indexOf(other) < volumes.indexOf(volume))),
        )
        .map((other) => ({
          path: `${volume.path}.mount`,
          what: `it lies in ${other.spec.mount}, where ${other.path} is mounted`,
          received: volume.spec.mount,
        })),
    );
  },
};

const sharedUuid: Rule = {
  code: "VOLUME_UUID_SHARED",
  why: "BTRFS tells filesystems apart by their UUID alone; a second one with the same UUID is taken for a part of the first",
  fix: "remove one uuid, and it is derived from names that differ",
  check: (topology) => {
    const volumes = allVolumes(topology).filter(({ spec }) => spec.uuid !== undefined);
    return volumes.flatMap((volume, index) => {
      const twin = volumes
        .slice(0, index)
        .find(({ spec }) => spec.uuid?.toLowerCase() === volume.spec.uuid?.toLowerCase());
      return twin === undefined
        ? []
        : [{ path: `${volume.path}.uuid`, what: `${twin.path} has the same UUID`, received: volume.spec.uuid }];
    });
  },
};

/** Mount options that a volume must not have, by name, and why. */
const FORBIDDEN_OPTIONS: { code: string; names: string[]; why: string }[] = [
  {
    code: "VOLUME_NODATACOW",
    names: ["nodatacow", "nodatasum"],
    why: "without checksums BTRFS cannot tell which of two halves is the right one, so a mirror repairs nothing (btrfs(5))",
  },
  {
    code: "VOLUME_DEGRADED",
    names: ["degraded"],
    why: "a volume that mounts without one of its devices writes chunks that have no second half, and says so to nobody",
  },
  {
    code: "VOLUME_MOUNT_OPTION",
    names: [
      "nobarrier",
      "norecovery",
      "nologreplay",
      "rescue",
      "usebackuproot",
      "ro",
      "noauto",
      "device",
      "subvol",
      "subvolid",
    ],
    why: "it gives up what an fsync promises, hides the last commits, or mounts something else than the volume that was checked",
  },
];

const optionRules: Rule[] = FORBIDDEN_OPTIONS.map(({ code, names, why }) => ({
  code,
  why,
  fix: "remove the option",
  check: (topology) =>
    allVolumes(topology).flatMap(({ spec, path }) =>
      spec.mountOptions.flatMap((option, index) =>
        names.includes(option.split("=")[0] ?? "")
          ? [
              {
                path: `${path}.mountOptions[${index}]`,
                what: "the volume must not have this mount option",
                received: option,
              },
            ]
          : [],
      ),
    ),
}));

/** Options of which the last one holds; any other pair is NAME and noNAME (mount(8), btrfs(5)). */
const ONE_OF: readonly (readonly string[])[] = [
  ["atime", "noatime", "relatime", "norelatime", "strictatime", "nostrictatime"],
  ["ssd", "ssd_spread", "nossd", "nossd_spread"],
];

/** Whether a mount can't have both. */
function contradict(one: string, other: string): boolean {
  if (one === other) return false;
  return one === `no${other}` || other === `no${one}` || ONE_OF.some((all) => all.includes(one) && all.includes(other));
}

const contradiction: Rule = {
  code: "VOLUME_MOUNT_CONTRADICTION",
  why: "the kernel takes the last of the two, and the mount would differ from what is declared at every look",
  fix: "remove the option",
  check: (topology) =>
    allVolumes(topology).flatMap(({ spec, path }) =>
      spec.mountOptions.flatMap((option, index) => {
        const others = [...MOUNT_OPTIONS.before, ...spec.mountOptions.slice(0, index), ...MOUNT_OPTIONS.after];
        const other = others.find((before) => contradict(before, option));
        if (other === undefined) return [];
        const whose = spec.mountOptions.includes(other) ? "is declared too" : "every volume gets";
        return [
          {
            path: `${path}.mountOptions[${index}]`,
            what: `it contradicts '${other}', which ${whose}`,
            received: option,
          },
        ];
      }),
    ),
};

export const VOLUME_RULES: readonly Rule[] = [reservedMount, nestedMounts, sharedUuid, ...optionRules, contradiction];
