/**
 * BTRFS volumes. Pure: facts and document give actions.
 *
 * Never destroys: mkfs and `device add` touch only devices without any signature, and everything else that is in the way is
 * refused by name. Devices that already hold the volume (a rebuilt host whose disks survived) are taken as they are.
 */
import type { Ownership, RaidProfile, StorageDocument, VolumeDocument } from "../contract.ts";
import { planDirectory } from "../planning.ts";
import { type CommonAction, type ItemName, type OwnAction, Refusal } from "../stage.ts";
import type { Device } from "./block.ts";
import type { Filesystem, Member } from "./btrfs.ts";
import type { StorageFacts, VolumeFacts } from "./facts.ts";
import { fstabLine, ourLines, strangersAt } from "./fstab.ts";
import { planTakeOver, type TakeOverAction } from "./take-over.ts";

type Profile = RaidProfile | "single";

export type StorageAction =
  | (OwnAction & { kind: "storage/make-filesystem"; volume: string; overwriteOurs: boolean })
  | (OwnAction & { kind: "storage/protect-mount-point"; path: string })
  | (OwnAction & { kind: "storage/set-fstab-entry"; volume: string })
  | (OwnAction & { kind: "storage/mount"; volume: string })
  | (OwnAction & { kind: "storage/remount"; volume: string })
  | (OwnAction & { kind: "storage/add-device"; volume: string; device: string })
  | (OwnAction & { kind: "storage/remove-device"; volume: string; device: string })
  | (OwnAction & { kind: "storage/give-tree"; path: string; from: string; ownership: Ownership })
  | (OwnAction & { kind: "storage/convert"; volume: string; data: string; metadata: string; reduces: boolean })
  | TakeOverAction;

type Action = CommonAction | StorageAction;

/** Fewest devices and number of copies of each profile (btrfs(5), "PROFILES"). */
const PROFILES: Record<Profile, { devices: number; copies: number }> = {
  single: { devices: 1, copies: 1 },
  raid1: { devices: 2, copies: 2 },
  raid10: { devices: 4, copies: 2 },
  raid1c3: { devices: 3, copies: 3 },
  raid1c4: { devices: 4, copies: 4 },
};
const COPIES: Record<string, number> = { raid0: 1, dup: 2, raid5: 2, raid6: 3 };
const copiesOf = (profile: string): number => PROFILES[profile as Profile]?.copies ?? COPIES[profile] ?? 1;

/** Metadata keeps two copies where it can: on one device that is "dup" (mkfs.btrfs(8), the default). */
export function metadataProfile(volume: Pick<VolumeDocument, "profile" | "devices">): string {
  if (volume.profile !== "single") return volume.profile;
  return volume.devices.length === 1 ? "dup" : "raid1";
}

/** Mount options that take away what the volume is there for (btrfs(5)). */
const FORBIDDEN_OPTIONS: Record<string, string> = {
  degraded: "a host that boots with a disk missing would write to one disk only, and single copies stay behind",
  nodatacow: "without copy-on-write there are no checksums, and without checksums no repair from the other copy",
  nodatasum: "without checksums a bad block is not noticed, let alone repaired from the other copy",
};

/** Options that the kernel shows as they were given, so that the live mount can be compared. */
const VISIBLE_OPTIONS = new Set(["autodefrag", "noatime", "nodiratime", "nodev", "nosuid", "noexec", "ssd", "nossd"]);

const items = {
  volume: (volume: VolumeDocument): ItemName => `volume:${volume.name}`,
  mountPoint: (volume: VolumeDocument): ItemName => `directory:${volume.mount}`,
  fstab: (volume: VolumeDocument): ItemName => `fstab:${volume.mount}`,
  mount: (volume: VolumeDocument): ItemName => `mount:${volume.mount}`,
};

export function storageItems(document: StorageDocument): ItemName[] {
  return document.volumes.flatMap((volume) => [
    ...Object.values(items).map((item) => item(volume)),
    ...volume.directories.map(({ path }): ItemName => `directory:${path}`),
    ...(volume.takeOver === undefined ? [] : [`symlink:${volume.takeOver.from}` as const]),
  ]);
}

export function planStorage(facts: StorageFacts, document: StorageDocument): Action[] {
  refuseSharedDisks(facts, document);
  return document.volumes.flatMap((volume) => {
    const found = facts.volumes.get(volume.name);
    if (found === undefined) throw new Error(`no facts were read for volume ${volume.name}`);
    refuseDocument(volume);
    refuseDegraded(volume, found);
    refuseStrangers(volume, found, facts.fstab);
    return [
      ...planFilesystem(volume, found),
      ...planMountPoint(volume, found),
      ...planFstab(volume, facts.fstab),
      ...planMount(volume, found),
      ...planMembers(volume, found),
      ...planDirectories(volume, found),
      ...planExisting(volume, found),
    ];
  });
}

function refuse(code: string, what: string, received: string, why: string, fix: string): never {
  throw new Refusal({ code, what, received, why, fix });
}

function refuseDocument(volume: VolumeDocument): void {
  const { devices } = PROFILES[volume.profile];
  if (volume.devices.length < devices) {
    refuse(
      "STORAGE-TOO-FEW-DEVICES",
      `volume ${volume.name}: profile ${volume.profile} needs ${devices} devices`,
      `${volume.devices.length}: ${volume.devices.join(", ")}`,
      "with fewer, BTRFS can't keep the copies that the profile promises",
      "declare more devices, or another profile",
    );
  }
  for (const option of volume.options.split(",")) {
    const why = FORBIDDEN_OPTIONS[option];
    if (why === undefined) continue;
    refuse(
      "STORAGE-MOUNT-OPTION",
      `volume ${volume.name}: mount option '${option}' is not allowed`,
      volume.options,
      why,
      `remove '${option}' from the volume's options`,
    );
  }
}

/** All volumes at once: the same disk must not be in two of them either. */
function refuseSharedDisks(facts: StorageFacts, document: StorageDocument): void {
  const owners = new Map<string, Device>();
  for (const volume of document.volumes) {
    for (const device of facts.volumes.get(volume.name)?.devices ?? []) {
      for (const disk of device.found?.disks ?? []) {
        const other = owners.get(disk);
        if (other !== undefined) {
          refuse(
            "STORAGE-SAME-DISK",
            `volume ${volume.name}: two devices are the same disk`,
            `${other.name} (${other.found?.node}) and ${device.name} (${device.found?.node})`,
            "two copies on one disk are lost with it",
            "declare another disk: ls -l /dev/disk/by-id",
          );
        }
        owners.set(disk, device);
      }
    }
  }
}

/** The filesystem runs, or would run, without one of its devices. */
function refuseDegraded(volume: VolumeDocument, { filesystem, devices, mounted, making }: VolumeFacts): void {
  if (filesystem === undefined || filesystem.uuid !== volume.uuid || isHalfMade(filesystem, making)) return;
  const missing = filesystem.members.filter(({ found }) => found === undefined);
  const repair =
    "README, 'A disk died': put a new disk in and run 'btrfs replace' for that number, then convert and scrub; " +
    "nothing is mounted degraded or formatted by itself";
  if (missing.length > 0) {
    refuse(
      "STORAGE-DEVICE-MISSING",
      `volume ${volume.name}: the filesystem misses ${missing.length} of its ${filesystem.members.length} devices`,
      `missing: devid ${missing.map(({ devid }) => devid).join(", ")}; there: ${describeMembers(filesystem.members)}; ` +
        `declared: ${devices.map(describeDevice).join(", ")}`,
      "what is written now has fewer copies than declared, and one more dead disk is a loss",
      repair,
    );
  }
  if (mounted?.options.includes("degraded")) {
    refuse(
      "STORAGE-DEGRADED",
      `volume ${volume.name} is mounted with 'degraded', though all of its devices are there`,
      mounted.options.join(","),
      "a degraded mount writes single copies when a disk goes, without a word",
      `stop lightningd, then umount ${volume.mount} && mount ${volume.mount}, then convert and scrub (README, 'A disk died')`,
    );
  }
}

/** mkfs was killed between the first device's superblock and the last one's: ours, and never in use. */
function isHalfMade(filesystem: Filesystem, making: boolean): boolean {
  const there = filesystem.members.filter(({ found }) => found !== undefined);
  return making && there.length < filesystem.members.length && there.every(({ found }) => found?.neverMounted === true);
}

const describeMembers = (members: Member[]): string =>
  members.flatMap(({ devid, found }) => (found === undefined ? [] : [`devid ${devid} ${found.path}`])).join(", ");

const describeDevice = ({ name, found }: Device): string => (found === undefined ? `${name} (absent)` : name);

/** What is mounted at, fstab has for, or lies in the mount point, and isn't ours. */
function refuseStrangers(volume: VolumeDocument, facts: VolumeFacts, fstab: string): void {
  const { mounted, filesystem, mountPoint, elsewhere } = facts;
  if (mounted !== undefined && filesystem?.uuid !== volume.uuid) {
    refuse(
      "STORAGE-MOUNT-TAKEN",
      `volume ${volume.name}: something else is mounted at ${volume.mount}`,
      `${mounted.source}, ${mounted.type}${filesystem === undefined ? "" : ` ${filesystem.uuid}`}, expected ${volume.uuid}`,
      "the wallet would be written to a filesystem that the topology doesn't know",
      `see what it is ('findmnt ${volume.mount}'); unmount it, or declare another mount point`,
    );
  }
  if (mounted === undefined && elsewhere.length > 0) {
    refuse(
      "STORAGE-MOUNTED-ELSEWHERE",
      `volume ${volume.name} is mounted in another place than declared`,
      `${elsewhere.join(", ")}, declared ${volume.mount}`,
      "a volume isn't moved away under a node that may be using it",
      `stop lightningd, umount ${elsewhere.join(" ")}, and run this again`,
    );
  }
  if (mountPoint !== undefined && (mountPoint.entry.kind !== "directory" || !mountPoint.empty)) {
    refuse(
      "STORAGE-MOUNT-POINT-IN-USE",
      `volume ${volume.name}: the mount point ${volume.mount} is not an empty directory`,
      mountPoint.entry.kind === "directory" ? "it holds files while nothing is mounted on it" : mountPoint.entry.kind,
      "they would be hidden below the volume; a lightning directory among them may hold a newer state than the volume's",
      `look at them, move ${volume.mount} away, and run this again`,
    );
  }
  const strangers = strangersAt(fstab, volume);
  if (strangers.length > 0) {
    refuse(
      "STORAGE-FSTAB-TAKEN",
      `volume ${volume.name}: another line of /etc/fstab uses ${volume.mount}`,
      strangers.join(" | "),
      "which of the two is mounted at boot would be chance",
      "remove that line, or declare another mount point",
    );
  }
}

const isMember = (filesystem: Filesystem, device: Device): boolean =>
  filesystem.members.some(({ found }) => found !== undefined && found.number === device.found?.number);

function refuseUnfit(volume: VolumeDocument, device: Device, allowed: (type: string, uuid?: string) => boolean): void {
  const { name, found } = device;
  if (found === undefined) {
    refuse(
      "STORAGE-DEVICE-ABSENT",
      `volume ${volume.name}: there is no block device ${name}`,
      "nothing by this name, or no block device",
      "the volume needs all of its devices to be made or mounted",
      "connect it, or correct the name: ls -l /dev/disk/by-id",
    );
  }
  const foreign = found.signatures.filter(({ type, uuid }) => !allowed(type, uuid));
  if (foreign.length > 0) {
    refuse(
      "STORAGE-DEVICE-IN-USE",
      `volume ${volume.name}: ${name} is not empty`,
      `${found.node} holds ${foreign.map(describeSignature).join(", ")}`,
      "only a device without any signature is formatted; what it holds may be somebody's data",
      `name another device; or, if you are sure that it may be destroyed: wipefs --all ${name}`,
    );
  }
  if (found.holders.length > 0) {
    refuse(
      "STORAGE-DEVICE-IN-USE",
      `volume ${volume.name}: ${name} is in use by another block device`,
      `${found.node} is held by ${found.holders.join(", ")}`,
      "device-mapper, LVM or md works on it",
      "name another device, or take that one apart first",
    );
  }
  if (found.bytes < volume.minimumDeviceBytes) {
    refuse(
      "STORAGE-DEVICE-TOO-SMALL",
      `volume ${volume.name}: ${name} is too small`,
      `${found.bytes} bytes, at least ${volume.minimumDeviceBytes} are needed`,
      "a full filesystem stops the node",
      "use a larger device, or lower minimumDeviceBytes of the volume",
    );
  }
}

const describeSignature = ({ type, uuid, label }: { type: string; uuid?: string; label?: string }): string =>
  [type, ...(label ? [`labelled '${label}'`] : []), ...(uuid ? [`(${uuid})`] : [])].join(" ");

function planFilesystem(volume: VolumeDocument, { devices, filesystem, making }: VolumeFacts): Action[] {
  const halfMade = filesystem !== undefined && isHalfMade(filesystem, making);
  if (filesystem !== undefined && !halfMade) return [];
  for (const device of devices) {
    refuseUnfit(volume, device, (type, uuid) => halfMade && type === "btrfs" && uuid === volume.uuid);
  }
  const how = `${volume.profile} over ${devices.map(({ name }) => name).join(", ")}`;
  return [
    {
      kind: "storage/make-filesystem",
      item: items.volume(volume),
      summary: `make BTRFS ${volume.uuid}, ${how}${halfMade ? "; an interrupted mkfs.btrfs left it half-made" : ""}`,
      volume: volume.name,
      overwriteOurs: halfMade,
    },
  ];
}

/** Nothing is ever written below the volume: root's, mode 0000, and immutable where the host allows it. */
function planMountPoint(volume: VolumeDocument, { mounted, mountPoint }: VolumeFacts): Action[] {
  if (mounted !== undefined) return [];
  if (mountPoint !== undefined) {
    const { owner, group, mode } = mountPoint.entry;
    if (`${owner}:${group} ${mode}` === "root:root 0000" && mountPoint.immutable !== false) return [];
  }
  return [
    {
      kind: "storage/protect-mount-point",
      item: items.mountPoint(volume),
      summary: `${mountPoint === undefined ? "make" : "protect"} the mount point ${volume.mount}: nobody can write to it while nothing is mounted`,
      path: volume.mount,
    },
  ];
}

function planFstab(volume: VolumeDocument, fstab: string): Action[] {
  const ours = ourLines(fstab, volume);
  const line = fstabLine(volume);
  if (ours.length === 1 && ours[0] === line) return [];
  const item = items.fstab(volume);
  return [
    {
      kind: "storage/set-fstab-entry",
      item,
      summary: `/etc/fstab: ${line}${ours.length === 0 ? "" : `, now ${ours.join(" | ")}`}`,
      volume: volume.name,
    },
    { kind: "daemon-reload", item, summary: "let systemd read /etc/fstab", consequence: true },
  ];
}

function planMount(volume: VolumeDocument, { mounted }: VolumeFacts): Action[] {
  const item = items.mount(volume);
  if (mounted === undefined) {
    return [{ kind: "storage/mount", item, summary: `mount ${volume.mount}`, volume: volume.name }];
  }
  const live = new Set(mounted.options);
  const lacking = volume.options.split(",").filter((option) => VISIBLE_OPTIONS.has(option) && !live.has(option));
  const readOnly = live.has("ro") && !volume.options.split(",").includes("ro");
  if (lacking.length === 0 && !readOnly) return [];
  const why = [...lacking.map((option) => `without ${option}`), ...(readOnly ? ["read-only"] : [])].join(", ");
  return [
    { kind: "storage/remount", item, summary: `remount ${volume.mount}, now mounted ${why}`, volume: volume.name },
  ];
}

/** Grow first, then convert, shrink last: at every moment the declared copies exist or are being made. */
function planMembers(volume: VolumeDocument, { devices, filesystem, making }: VolumeFacts): Action[] {
  if (filesystem === undefined || isHalfMade(filesystem, making)) return [];
  const item = items.volume(volume);
  const added = devices.filter((device) => !isMember(filesystem, device));
  for (const device of added) refuseUnfit(volume, device, () => false);
  const declared = new Set(devices.map(({ found }) => found?.number));
  const removed = filesystem.members.flatMap(({ found }) =>
    found !== undefined && !declared.has(found.number) ? [found.path] : [],
  );
  const [data, metadata] = [volume.profile, metadataProfile(volume)];
  const other = (profiles: string[], wanted: string) => profiles.filter((profile) => profile !== wanted);
  const converted = [...other(filesystem.data, data), ...other(filesystem.metadata, metadata)];
  return [
    ...added.map(
      ({ name }): StorageAction => ({
        kind: "storage/add-device",
        item,
        summary: `add ${name} to volume ${volume.name}`,
        volume: volume.name,
        device: name,
      }),
    ),
    ...(converted.length === 0
      ? []
      : [
          {
            kind: "storage/convert",
            item,
            summary: `convert volume ${volume.name} to data ${data}, metadata ${metadata}, now also ${[...new Set(converted)].join(", ")}`,
            volume: volume.name,
            data,
            metadata,
            reduces: converted.some((profile) => copiesOf(profile) > Math.min(copiesOf(data), copiesOf(metadata))),
          } as const,
        ]),
    ...removed.map(
      (device): StorageAction => ({
        kind: "storage/remove-device",
        item,
        summary: `remove ${device} from volume ${volume.name}; its data moves to the other devices`,
        volume: volume.name,
        device,
      }),
    ),
  ];
}

function planDirectories(
  volume: VolumeDocument,
  { mounted, filesystem, directories, withoutCopyOnWrite }: VolumeFacts,
) {
  if (withoutCopyOnWrite.length > 0) {
    refuse(
      "STORAGE-NO-COPY-ON-WRITE",
      `volume ${volume.name}: copy-on-write is switched off (chattr +C)`,
      withoutCopyOnWrite.join(", "),
      "files made there have no checksums, and without checksums there is no repair from the other copy",
      "stop lightningd; chattr -C the directory, copy its files to new ones (cp --reflink=never) and put those in their place",
    );
  }
  // On a volume that is yet to be mounted they are looked at after that.
  if (mounted === undefined && filesystem !== undefined) return [];
  return volume.directories.flatMap(({ path, ...ownership }): Action[] => {
    const entry = directories.get(path);
    const strange = entry?.kind === "directory" && entry.owner !== ownership.owner && entry.owner !== "root";
    if (!strange || ownership.owner === "root") return planDirectory(path, entry, ownership);
    // A rebuilt host may have given the account another number: the wallet's files still have the old one.
    const from = `${entry.owner}:${entry.group}`;
    const summary = `give ${path} and what in it belongs to ${from} to ${ownership.owner}:${ownership.group}`;
    return [{ kind: "storage/give-tree", item: `directory:${path}`, summary, path, from, ownership }];
  });
}

function planExisting(volume: VolumeDocument, { mounted, filesystem, takeOver }: VolumeFacts): Action[] {
  if (volume.takeOver === undefined || takeOver === undefined) return [];
  const state = mounted !== undefined ? "mounted" : filesystem === undefined ? "new" : "unmounted";
  return planTakeOver(volume.takeOver, takeOver, state);
}
