/** The timer that takes snapshots of the store. Pure. */
import { dirname } from "node:path";
import { SNAPSHOT_DIRECTORY, SNAPSHOT_UNITS, snapshotUnitFiles } from "../../../templates/etcd-snapshot.ts";
import type { EtcdDocument, Ownership } from "../contract.ts";
import { planDirectory, planFile, ROOT_DIRECTORY } from "../planning.ts";
import type { Entry } from "../read.ts";
import type { CommonAction, ItemName } from "../stage.ts";

/** etcd's own account takes them: it has the member's key and needs nothing else. */
const OWNERSHIP: Ownership = { owner: "etcd", group: "etcd", mode: "0700" };

export const snapshotPaths = (document: EtcdDocument): string[] => [
  dirname(SNAPSHOT_DIRECTORY),
  SNAPSHOT_DIRECTORY,
  ...snapshotUnitFiles(document).map(({ path }) => path),
];

export const snapshotItems = (document: EtcdDocument): ItemName[] => [
  `directory:${SNAPSHOT_DIRECTORY}`,
  ...snapshotUnitFiles(document).map(({ path }): ItemName => `file:${path}`),
  `unit:${SNAPSHOT_UNITS.timer}`,
];

/** The timer itself is started after systemd has read the files. */
export function planSnapshots(entries: Map<string, Entry | undefined>, document: EtcdDocument): CommonAction[] {
  const parent = dirname(SNAPSHOT_DIRECTORY);
  return [
    ...(entries.get(parent) === undefined ? planDirectory(parent, undefined, ROOT_DIRECTORY) : []),
    ...planDirectory(SNAPSHOT_DIRECTORY, entries.get(SNAPSHOT_DIRECTORY), OWNERSHIP),
    ...snapshotUnitFiles(document).flatMap(({ path, content }) => planFile(path, entries.get(path), content)),
  ];
}
