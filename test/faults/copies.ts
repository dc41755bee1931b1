/** Main and replica as they lie on their disks, read without being opened: on a running host below its root, on a dead one by mounting its disks. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { replicaDirectoryOnItsHost } from "../../components/topology/documents/replica.ts";
import { DATABASE_FILE, mainDatabase, networkDirectory, replicaHost } from "../../components/topology/places.ts";
import type { Topology } from "../../components/topology/schema.ts";
import { readWallet, type WalletContent } from "../helpers/lightningd-wallet.ts";
import type { Disk, Machine } from "./machine.ts";
import { withSurvivors, withVolume } from "./power.ts";

export interface Copy extends WalletContent {
  /** A rollback journal that the next reader has to roll back. */
  hotJournal: boolean;
  /** A -wal with frames in it. */
  wal: boolean;
}

export interface Place {
  host: Machine;
  /** Mount point of the volume that it lies on. */
  mount: string;
  /** Absolute path of the database on that host. */
  path: string;
}

/** Bytes with which a rollback journal starts that has not been finished (sqlite.org/fileformat.html, "The Rollback Journal"). */
const JOURNAL_MAGIC = Buffer.from("d9d505f920a163d7", "hex");
const SUFFIXES = ["", "-journal", "-wal"];

export function placesOf(topology: Topology, machines: Machine[]): { main: Place; replica: Place } {
  const directory = replicaDirectoryOnItsHost(topology);
  if (directory === undefined) throw new Error("the topology has no replica");
  return {
    main: mainPlace(topology, machines),
    replica: placeOf(machines, replicaHost(topology) ?? "", `${directory}/${DATABASE_FILE}`),
  };
}

export const mainPlace = (topology: Topology, machines: Machine[]): Place =>
  placeOf(machines, topology.node.host, mainDatabase(topology));

function placeOf(machines: Machine[], name: string, path: string): Place {
  const host = machines.find((machine) => machine.name === name);
  const volume = host?.volumes.find(({ mount }) => path.startsWith(`${mount}/`));
  if (host === undefined || volume === undefined) throw new Error(`${path} lies on no volume of host ${name}`);
  return { host, mount: volume.mount, path };
}

/** Calls `read` with the path at which this machine sees `path`, which lies on the place's volume. */
async function at<T>({ host, mount }: Place, path: string, read: (path: string) => T): Promise<T> {
  if ((await host.pid()) !== 0) return read(await host.path(path));
  return withVolume(host, mount, async (root) => read(join(root, path.slice(mount.length))));
}

/** What a reader would find that recovers the database from its journals. */
export const readCopy = (place: Place): Promise<Copy> => at(place, place.path, copyAt);

/** The same of a place whose disk `pulled` is gone, from the others alone; the host is off after it. */
export const readSurvivor = (place: Place, pulled: Disk): Promise<Copy> =>
  withSurvivors(place.host, place.mount, pulled, async (root) =>
    copyAt(join(root, place.path.slice(place.mount.length))),
  );

const copyAt = (path: string): Copy => ({
  ...readWallet(path),
  hotJournal: startsWithMagic(`${path}-journal`),
  wal: existsSync(`${path}-wal`) && statSync(`${path}-wal`).size > 0,
});

/** A zeroed or absent header is a journal that was finished. */
function startsWithMagic(path: string): boolean {
  return existsSync(path) && readFileSync(path).subarray(0, JOURNAL_MAGIC.length).equals(JOURNAL_MAGIC);
}

/**
 * Says, as fast as a few stat(2) are, whether a running lightningd has written its commit to main and is at the replica's. A rollback journal
 * is unlinked at the commit; a -wal is written at the commit.
 */
export async function writesReplica(mode: "wal" | "delete", main: Place, replica: Place): Promise<() => boolean> {
  const [first, second] = [await main.host.path(main.path), await replica.host.path(replica.path)];
  if (mode === "delete") return () => existsSync(`${second}-journal`) && !existsSync(`${first}-journal`);
  const written = (path: string) => statSync(`${path}-wal`, { bigint: true, throwIfNoEntry: false })?.mtimeNs ?? 0n;
  return () => written(first) > written(second);
}

/** SHA-256, mode and owner of hsm_secret, and of copies with their journals; "absent" for what is not there. */
export async function fingerprintOf(
  topology: Topology,
  node: Machine,
  copies: Place[],
): Promise<Record<string, string>> {
  const secret = { host: node, mount: topology.node.volume.mount, path: `${networkDirectory(topology)}/hsm_secret` };
  const journals = copies.flatMap((copy) => SUFFIXES.map((suffix) => ({ ...copy, path: copy.path + suffix })));
  const found: Record<string, string> = {};
  for (const place of [secret, ...journals])
    found[`${place.host.name}:${place.path}`] = await at(place, place.path, digest);
  return found;
}

function digest(path: string): string {
  if (!existsSync(path)) return "absent";
  const { mode, uid, gid } = statSync(path);
  return `${createHash("sha256").update(readFileSync(path)).digest("hex")} ${mode.toString(8)} ${uid}:${gid}`;
}
