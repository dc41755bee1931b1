/** What is true of a BTRFS volume right now. The parsers are pure; formats are those of btrfs-progs 6.2 to 6.14. */
import type { VolumeDocument } from "../contract.ts";
import { run } from "../process.ts";

/** Error counters of one device since they were last reset (btrfs-device(8), "stats"). */
export interface DeviceErrors {
  write: number;
  read: number;
  flush: number;
  corruption: number;
  generation: number;
}

export interface DeviceStatus {
  /** The device number inside the filesystem, by which a missing device is addressed. */
  id: number;
  /** The kernel's name, undefined while the device is missing. */
  path: string | undefined;
  bytes: number;
  errors: DeviceErrors | undefined;
}

export interface ScrubStatus {
  /** ISO 8601. */
  started: string;
  /** "finished", "running", "aborted", "interrupted". */
  state: string;
  /** btrfs's own summary: "no errors found", or counts by kind. */
  errors: string;
  /** Errors that no copy could correct. */
  uncorrectable: number;
}

export interface VolumeStatus {
  name: string;
  mount: string;
  /** The declared filesystem is mounted there. */
  mounted: boolean;
  /** What is wrong if it is not. */
  problem?: string;
  /** Declared. */
  profile: string;
  /** Profiles of the block groups that exist, without the global reserve: one, unless a conversion is unfinished. */
  profiles: string[];
  devices: DeviceStatus[];
  scrub: ScrubStatus | undefined;
  bytesFree: number | undefined;
}

const COUNTERS = {
  write_io_errs: "write",
  read_io_errs: "read",
  flush_io_errs: "flush",
  corruption_errs: "corruption",
  generation_errs: "generation",
} as const satisfies Record<string, keyof DeviceErrors>;

/** Output of `btrfs device stats MOUNT`: counters by kernel name, or by "devid:N" for a missing device. */
export function parseDeviceStats(text: string): Map<string, DeviceErrors> {
  const stats = new Map<string, DeviceErrors>();
  for (const line of text.split("\n")) {
    const [, device, counter, value] = /^\[(.+)\]\.(\w+)\s+(\d+)$/.exec(line) ?? [];
    const key = COUNTERS[counter as keyof typeof COUNTERS];
    if (device === undefined || key === undefined) {
      continue;
    }
    const errors = stats.get(device) ?? { write: 0, read: 0, flush: 0, corruption: 0, generation: 0 };
    errors[key] = Number(value);
    stats.set(device, errors);
  }
  return stats;
}

/** Output of `btrfs filesystem show --raw MOUNT`: its devices, without their errors. */
export function parseDevices(text: string): Omit<DeviceStatus, "errors">[] {
  return text.split("\n").flatMap((line) => {
    const [, id, bytes, path] = /^\s*devid\s+(\d+)\s+size\s+(\d+)\s+used\s+\d+\s+path\s+(.*)$/.exec(line) ?? [];
    if (id === undefined || path === undefined) {
      return [];
    }
    return [{ id: Number(id), bytes: Number(bytes), path: /\bMISSING$/.test(path) ? undefined : path }];
  });
}

/** Output of `TZ=UTC btrfs scrub status --raw MOUNT`; undefined if no scrub has run yet. */
export function parseScrub(text: string): ScrubStatus | undefined {
  const value = (name: string) => new RegExp(`^\\s*${name}:\\s*(.*)$`, "m").exec(text)?.[1]?.trim();
  // "Scrub resumed" takes its place after an interruption.
  const started = value("Scrub started") ?? value("Scrub resumed");
  if (started === undefined) {
    return undefined;
  }
  return {
    started: new Date(`${started} UTC`).toISOString(),
    state: value("Status") ?? "unknown",
    errors: value("Error summary") ?? "unknown",
    uncorrectable: Number(value("Uncorrectable") ?? 0),
  };
}

/** Output of `btrfs filesystem df MOUNT`: profiles in use, in small letters as mkfs takes them. */
export function parseProfiles(text: string): string[] {
  const profiles = text.split("\n").flatMap((line) => {
    const [, kind, profile] = /^(\w[\w+]*), (\w+):/.exec(line) ?? [];
    return profile === undefined || kind === "GlobalReserve" ? [] : [profile.toLowerCase()];
  });
  return [...new Set(profiles)].sort();
}

/** Joins a filesystem's devices with their counters. Pure. */
export function joinErrors(devices: Omit<DeviceStatus, "errors">[], stats: Map<string, DeviceErrors>): DeviceStatus[] {
  return devices.map((device) => ({ ...device, errors: stats.get(device.path ?? `devid:${device.id}`) }));
}

/** Reads a declared volume. What can't be read is left out and said, since status is asked on the worst day too. */
export async function readVolume(volume: VolumeDocument): Promise<VolumeStatus> {
  const { name, mount, profile } = volume;
  const found = await run("findmnt", ["--noheadings", "--output", "UUID", "--mountpoint", mount]);
  const uuid = found.stdout.trim();
  if (found.status !== 0 || uuid !== volume.uuid) {
    const problem = found.status !== 0 ? "nothing is mounted there" : `another filesystem is mounted there (${uuid})`;
    return {
      name,
      mount,
      mounted: false,
      problem,
      profile,
      profiles: [],
      devices: [],
      scrub: undefined,
      bytesFree: undefined,
    };
  }
  const btrfs = async (...args: string[]) => (await run("btrfs", args, { env: { TZ: "UTC" } })).stdout;
  const [stats, show, scrub, df, free] = await Promise.all([
    btrfs("device", "stats", mount),
    btrfs("filesystem", "show", "--raw", mount),
    btrfs("scrub", "status", "--raw", mount),
    btrfs("filesystem", "df", mount),
    run("df", ["--output=avail", "--block-size=1", mount]),
  ]);
  const bytes = Number(free.stdout.trim().split("\n").at(-1));
  return {
    name,
    mount,
    mounted: true,
    profile,
    profiles: parseProfiles(df),
    devices: joinErrors(parseDevices(show), parseDeviceStats(stats)),
    scrub: parseScrub(scrub),
    bytesFree: free.status === 0 && Number.isFinite(bytes) ? bytes : undefined,
  };
}
