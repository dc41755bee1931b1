/** BTRFS volumes and the room on the root disk. */
import type { StorageDocument } from "../../contract.ts";
import { must } from "../../process.ts";
import { readVolume, type VolumeStatus } from "../../status/volume.ts";
import type { Condition } from "../alert.ts";

/** Room of one filesystem. */
export interface Room {
  path: string;
  bytesFree: number;
  bytesTotal: number;
}

/** Output of `df --output=target,avail,size --block-size=1`. */
export function parseRoom(text: string): Room[] {
  return text
    .trim()
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const [, path, free, total] = /^(\S.*?)\s+(\d+)\s+(\d+)$/.exec(line) ?? [];
      return path === undefined ? [] : [{ path, bytesFree: Number(free), bytesTotal: Number(total) }];
    });
}

export function judgeRoom({ path, bytesFree, bytesTotal }: Room, freePercent: number): Condition[] {
  const percent = (100 * bytesFree) / bytesTotal;
  if (!(percent < freePercent)) return [];
  const value = `${percent.toFixed(1)} % of ${(bytesTotal / 2 ** 30).toFixed(1)} GiB are free, fewer than ${freePercent} %`;
  return [{ code: "DISK_NEARLY_FULL", subject: path, value }];
}

export function judgeVolume(volume: VolumeStatus): Condition[] {
  const { name, mount, profile, profiles, scrub } = volume;
  const subject = `volume ${name} at ${mount}`;
  if (!volume.mounted) return [{ code: "VOLUME_NOT_MOUNTED", subject, value: volume.problem ?? "not mounted" }];
  const foreign = foreignProfiles(volume);
  return [
    ...volume.devices.flatMap((device) => judgeDevice(subject, device)),
    ...(scrub === undefined ? [] : judgeScrub(subject, scrub)),
    ...(foreign.length > 0
      ? [
          {
            code: "VOLUME_PROFILE" as const,
            subject,
            value: `it has blocks of profile ${foreign.join(" and ")}, ${profiles.length > foreign.length ? "too, " : ""}and is declared as ${profile}`,
          },
        ]
      : []),
  ];
}

/** Not every kernel adds what a scrub found in metadata to the devices' counters, so the scrub itself is asked. */
function judgeScrub(
  subject: string,
  { started, errors, uncorrectable }: NonNullable<VolumeStatus["scrub"]>,
): Condition[] {
  const value = `the scrub of ${started} found ${errors}`;
  if (uncorrectable > 0)
    return [{ code: "SCRUB_UNCORRECTABLE", subject, value: `${value}, of which ${uncorrectable} are left` }];
  // It is "no errors found", or counts by kind.
  return /\d/.test(errors) ? [{ code: "SCRUB_MENDED", subject, value }] : [];
}

function judgeDevice(volume: string, { id, path, errors }: VolumeStatus["devices"][number]): Condition[] {
  // By its number: a device that went missing has no name any more.
  const subject = `device ${id} of ${volume}`;
  if (path === undefined) return [{ code: "DEVICE_MISSING", subject, value: "the kernel has no device for it" }];
  const counted = Object.entries(errors ?? {}).filter(([, count]) => count > 0);
  if (counted.length === 0) return [];
  const counts = counted.map(([kind, count]) => `${count} ${kind}`).join(", ");
  return [{ code: "DEVICE_ERRORS", subject, value: `${path} has errors: ${counts}` }];
}

/** Profiles of blocks other than the declared one; a filesystem on one device keeps its metadata twice (mkfs.btrfs(8)). */
function foreignProfiles({ profile, profiles }: VolumeStatus): string[] {
  const expected: string[] = profile === "single" ? ["dup", "single"] : [profile];
  return profiles.filter((each) => !expected.includes(each));
}

export async function lookAtVolumes({ volumes }: StorageDocument): Promise<Condition[]> {
  return (await Promise.all(volumes.map(readVolume))).flatMap(judgeVolume);
}

/** Where nothing is mounted it is the filesystem below that is looked at. */
export async function lookAtRoom(paths: readonly string[], freePercent: number): Promise<Condition[]> {
  const text = await must("df", ["--output=target,avail,size", "--block-size=1", "--", ...paths]);
  const rooms = new Map(parseRoom(text).map((room) => [room.path, room]));
  return [...rooms.values()].flatMap((room) => judgeRoom(room, freePercent));
}
