/** fstab(5): one line of ours among the administrator's. Pure. */
import type { VolumeDocument } from "../contract.ts";

interface Entry {
  source: string;
  target: string;
}

const FIELDS = /^\s*([^\s#]\S*)\s+(\S+)/;

function parseLine(line: string): Entry | undefined {
  const [, source, target] = FIELDS.exec(line) ?? [];
  return source === undefined || target === undefined ? undefined : { source, target };
}

const sourceOf = (volume: Pick<VolumeDocument, "uuid">) => `UUID=${volume.uuid}`;

/** The line as the backup document has it: UUID, mount point, btrfs, options, no dump, no fsck. */
export function fstabLine(volume: Pick<VolumeDocument, "uuid" | "mount" | "options">): string {
  return `${sourceOf(volume)} ${volume.mount} btrfs ${volume.options} 0 0`;
}

const isOurs = (volume: Pick<VolumeDocument, "uuid">, entry: Entry): boolean =>
  entry.source.toLowerCase() === sourceOf(volume).toLowerCase() ||
  entry.source.toLowerCase() === `/dev/disk/by-uuid/${volume.uuid}`;

/** Lines with our mount point and another source. */
export function strangersAt(fstab: string, volume: Pick<VolumeDocument, "uuid" | "mount">): string[] {
  return fstab.split("\n").filter((line) => {
    const entry = parseLine(line);
    return entry !== undefined && entry.target === volume.mount && !isOurs(volume, entry);
  });
}

/** The lines of our filesystem, as they stand. */
export function ourLines(fstab: string, volume: Pick<VolumeDocument, "uuid">): string[] {
  return fstab.split("\n").filter((line) => {
    const entry = parseLine(line);
    return entry !== undefined && isOurs(volume, entry);
  });
}

/** The text with exactly one line of ours, in the place of the first old one, else at the end; every other line as it was. */
export function withEntry(fstab: string, volume: Pick<VolumeDocument, "uuid" | "mount" | "options">): string {
  const ours = new Set(ourLines(fstab, volume));
  const lines = fstab === "" ? [] : fstab.replace(/\n$/, "").split("\n");
  const first = lines.findIndex((line) => ours.has(line));
  const others = (part: string[]) => part.filter((line) => !ours.has(line));
  const at = first === -1 ? lines.length : first;
  return `${[...others(lines.slice(0, at)), fstabLine(volume), ...others(lines.slice(at))].join("\n")}\n`;
}
