/**
 * Where a member of etcd or PostgreSQL keeps its data: on the root disk or on the host's volume. Data is never moved by a change of
 * the topology: a member that found its place empty would begin anew, beside the data that it has.
 */
import { lstat, readdir } from "node:fs/promises";
import { renderMemberVolume } from "../../templates/etcd.ts";
import { planFile } from "./planning.ts";
import { type Entry, mountAt, readMounts } from "./read.ts";
import { type CommonAction, Refusal } from "./stage.ts";

export interface DataPlace {
  /** The volume is mounted; true where there is none. */
  mounted: boolean;
  /** The wanted directory holds something. */
  holds: boolean;
  /** Other places in which there is data, or may be. */
  elsewhere: string[];
}

/** Undefined if there is no such directory; a symlink is none. */
async function isEmpty(path: string): Promise<boolean | undefined> {
  try {
    if (!(await lstat(path)).isDirectory()) return undefined;
    return (await readdir(path)).length === 0;
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

/** @param others Places of which the member's data could be at present, besides `wanted`. */
export async function readDataPlace(
  volume: string | undefined,
  wanted: string,
  others: readonly (string | undefined)[],
): Promise<DataPlace> {
  const mounts = await readMounts();
  const elsewhere: string[] = [];
  for (const other of new Set(others)) {
    if (other === undefined || other === wanted) continue;
    const empty = await isEmpty(other);
    // A volume that is no longer declared may just not be mounted.
    const hidden = empty === undefined && !other.startsWith("/var/lib/");
    if (empty === false || hidden) elsewhere.push(other);
  }
  return {
    mounted: volume === undefined || mountAt(mounts, volume) !== undefined,
    holds: (await isEmpty(wanted)) === false,
    elsewhere,
  };
}

/** @throws {Refusal} if the member would begin anew although it has data. Pure. */
export function requirePlace(
  unit: string,
  { volume }: { volume?: string },
  wanted: string,
  place: DataPlace | undefined,
): void {
  if (place === undefined) return;
  if (!place.mounted)
    throw new Refusal({
      code: "MEMBER-VOLUME",
      what: `the volume of ${unit}'s data is not mounted`,
      received: `nothing at ${volume}`,
      why: "a member that finds nothing where its data was would begin anew",
      fix: "./twofold repair mounts it, or says why it can't be mounted; the unit starts by itself then",
    });
  if (!place.holds && place.elsewhere.length > 0)
    throw new Refusal({
      code: "MEMBER-DATA-ELSEWHERE",
      what: `${unit} keeps its data in another place than the topology says`,
      received: `${place.elsewhere.join(", ")}; by the topology ${wanted}`,
      why: "data is not moved by a change of the config, and a member without its data begins anew",
      fix:
        "put the host's volume back as it was; or, with the other members healthy and this one not the primary: systemctl stop patroni etcd here, " +
        `mv ${place.elsewhere[0]} ${place.elsewhere[0]}.before, pulumi up: it joins the others anew, in the new place`,
    });
}

/** @throws {Refusal} if the settings on the host are those of another cluster. Pure. */
export function requireCluster(
  program: string,
  file: string,
  found: string | undefined,
  { cluster, host }: { cluster: string; host: string },
): void {
  if (found === undefined || found === cluster) return;
  throw new Refusal({
    code: "MEMBER-OTHER-CLUSTER",
    what: `${host} belongs to another cluster of ${program}`,
    received: `${found} in ${file}; by the topology ${cluster}`,
    why: "a host has one member, and taking it away from the other cluster could cost that its majority or a copy of its data",
    fix: `take ${host} out of that cluster first, then move ${file} away and run this again; or let the member live on another host`,
  });
}

/** The drop-in that lets a unit wait for its volume; none where there is no volume. */
export function planMemberVolume(path: string, entry: Entry | undefined, volume: string | undefined): CommonAction[] {
  if (volume !== undefined) return planFile(path, entry, renderMemberVolume(volume));
  if (entry === undefined) return [];
  return [{ kind: "remove-file", item: `file:${path}`, summary: `remove ${path}: there is no volume any more`, path }];
}
