/** The node's host: the replica's directory, or the mount of another host's. Pure. */
import { dirname } from "node:path";
import {
  mountPointParent,
  REPLICA_KNOWN_HOSTS,
  REPLICA_MOUNT_TYPES,
  REPLICA_SSH_CONFIG,
  REPLICA_UNIT,
  REPLICA_UNIT_FILE,
  replicaSourceFiles,
} from "../../../templates/replica.ts";
import type { ReplicaDocument } from "../contract.ts";
import { changesFile, planDirectory, planFile, planReload, ROOT_DIRECTORY, ROOT_FILE } from "../planning.ts";
import type { CommonAction, ItemName } from "../stage.ts";
import { type Action, planNoFile } from "./actions.ts";
import { remoteOf } from "./document.ts";
import type { SourceFacts } from "./facts.ts";
import { KEY_OWNERSHIP, REPLICA_KEY } from "./key.ts";

/** Nobody but root can make a file in it, so nothing is ever written while the mount is away. */
const MOUNT_POINT = { owner: "root", group: "root", mode: "0555" } as const;
const KEY_ITEM: ItemName = `key:${REPLICA_KEY}`;
const UNIT_ITEM: ItemName = `unit:${REPLICA_UNIT}`;

export function sourceItems(document: ReplicaDocument): ItemName[] {
  if (document.via === "local") return [`directory:${document.directory}`];
  const files = replicaSourceFiles(document, remoteOf(document), { uid: 0, gid: 0 });
  return [
    ...(document.via === "nfs" ? [] : keyItems()),
    `directory:${mountPointParent(document.directory)}`,
    `directory:${document.directory}`,
    ...files.map(({ path }): ItemName => `file:${path}`),
    UNIT_ITEM,
  ];
}

const keyItems = (): ItemName[] => ["directory:/etc/twofold", `directory:${dirname(REPLICA_KEY)}`, KEY_ITEM];

export function planSource(facts: SourceFacts, document: ReplicaDocument): Action[] {
  return document.via === "local" ? planLocal(facts, document) : planMount(facts, document);
}

/** On the node's own host: the directory. That it lies on other disks than main is checked where both are known (lightningd stage). */
function planLocal(facts: SourceFacts, document: ReplicaDocument): Action[] {
  const { directory, user, group } = document;
  return [
    ...planNoMount(facts),
    ...planDirectory(directory, facts.entries.get(directory), { owner: user, group, mode: "0700" }),
  ];
}

/** What mounted a replica that was on another host. Its key stays: it is let in nowhere else. */
function planNoMount(facts: SourceFacts): Action[] {
  if (facts.entries.get(REPLICA_UNIT_FILE) === undefined) return [];
  const why = "the replica is on this host";
  const files = [REPLICA_SSH_CONFIG, REPLICA_KNOWN_HOSTS, REPLICA_UNIT_FILE].flatMap((path) =>
    planNoFile(facts.entries, path, why),
  );
  return [
    { kind: "replica/unmount", item: UNIT_ITEM, summary: `stop and disable ${REPLICA_UNIT}: ${why}` },
    ...files,
    ...planReload(UNIT_ITEM, files, false),
  ];
}

function planMount(facts: SourceFacts, document: ReplicaDocument): Action[] {
  const remote = remoteOf(document);
  const entry = (path: string) => facts.entries.get(path);
  const { directory } = document;
  const parent = mountPointParent(directory);
  const files = replicaSourceFiles(document, remote, facts.ids).flatMap(({ path, content }) =>
    planFile(path, entry(path), content, ROOT_FILE),
  );
  return [
    ...(document.via === "nfs" ? [] : planKeyInItsPlace(facts, document)),
    ...planDirectory(parent, entry(parent), ROOT_DIRECTORY),
    ...(facts.mount ? [] : planDirectory(directory, entry(directory), MOUNT_POINT)),
    ...files,
    ...planUnit(facts, document, files),
    // Last, since the mount that is there may still need them.
    ...(document.via === "nfs"
      ? [REPLICA_SSH_CONFIG, REPLICA_KNOWN_HOSTS].flatMap((path) =>
          planNoFile(facts.entries, path, "the replica is not written over SFTP any more"),
        )
      : []),
  ];
}

function planKeyInItsPlace(facts: SourceFacts, document: ReplicaDocument): Action[] {
  const entry = (path: string) => facts.entries.get(path);
  return [
    ...planDirectory("/etc/twofold", entry("/etc/twofold"), ROOT_DIRECTORY),
    ...planDirectory(dirname(REPLICA_KEY), entry(dirname(REPLICA_KEY)), ROOT_DIRECTORY),
    ...planKey(facts, document),
  ];
}

function planKey(facts: SourceFacts, document: ReplicaDocument): Action[] {
  const key = facts.entries.get(REPLICA_KEY);
  if (!key)
    return [
      {
        kind: "replica/make-key",
        item: KEY_ITEM,
        summary: `make the SSH key ${REPLICA_KEY}, with which this host writes the replica of ${document.node}`,
        path: REPLICA_KEY,
        comment: `twofold replica ${document.node}`,
      },
    ];
  // Its content is this host's secret; only its ownership can be put right.
  return planFile(REPLICA_KEY, { ...key, content: "" }, "", KEY_OWNERSHIP).map((action) => ({
    ...action,
    item: KEY_ITEM,
  }));
}

function planUnit({ unit, mount }: SourceFacts, { via }: ReplicaDocument, files: CommonAction[]): Action[] {
  const rewritten = files.some(changesFile);
  const actions: Action[] = planReload(UNIT_ITEM, files, unit?.needsReload === true);
  if (unit?.enabled !== "enabled")
    actions.push({
      kind: "enable-unit",
      item: UNIT_ITEM,
      summary: `enable ${REPLICA_UNIT}, now ${unit?.enabled || "not there"}`,
      unit: REPLICA_UNIT,
    });
  const active = unit?.active === "active" && mount !== undefined;
  const right = active && mount.type === (via === "nfs" ? REPLICA_MOUNT_TYPES.nfs : REPLICA_MOUNT_TYPES.sshfs);
  const untested = via === "nfs" ? " over NFS, which twofold's makers could not run and never tested" : "";
  if (active && (rewritten || !right))
    actions.push({
      kind: "replica/remount",
      item: UNIT_ITEM,
      summary: `mount the replica anew${untested} with its new settings, lightningd stopped meanwhile`,
      startedAt: unit.startedAt,
      ...(rewritten ? { consequence: true } : {}),
    });
  if (!active)
    actions.push({
      kind: "replica/mount",
      item: UNIT_ITEM,
      summary: `mount the replica${untested}, now ${mount ? `a mount of type ${mount.type}` : "not mounted"}`,
    });
  return actions;
}
