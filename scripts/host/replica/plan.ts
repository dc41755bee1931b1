/** What is to be done so that lightningd finds its replica, and nothing else can reach it. Pure. */
import { dirname } from "node:path";
import {
  AUTHORIZED_KEYS_DIRECTORY,
  authorizedKeysOf,
  mountPointParent,
  REPLICA_UNIT,
  type ReplicaAccount,
  type ReplicaRemote,
  renderAuthorizedReplica,
  renderReplicaSshd,
  replicaSourceFiles,
  sshdFileOf,
} from "../../../templates/replica.ts";
import type { ReplicaDocument } from "../contract.ts";
import { planDirectory, planFile, ROOT_DIRECTORY, ROOT_FILE } from "../planning.ts";
import { type CommonAction, type ItemName, Refusal } from "../stage.ts";
import type { ReplicaFacts, SourceFacts, TargetFacts } from "./facts.ts";
import { KEY_OWNERSHIP, REPLICA_KEY } from "./key.ts";

interface Own {
  item: ItemName;
  summary: string;
  consequence?: true;
}

export type ReplicaAction =
  | (Own & { kind: "replica/create-account"; name: string; home: string })
  | (Own & { kind: "replica/change-account"; name: string; home: string })
  /** Writes the drop-in, asks sshd whether it can be read, and puts the former one back if not. */
  | (Own & { kind: "replica/write-sshd"; path: string; content: string })
  | (Own & { kind: "replica/reload-sshd" })
  | (Own & { kind: "replica/make-key"; path: string; comment: string })
  | (Own & { kind: "replica/mount" })
  /** lightningd is stopped for it, and started again if it ran. Done only while the unit still runs the start at `startedAt`. */
  | (Own & { kind: "replica/remount"; startedAt: number });

type Action = CommonAction | ReplicaAction;

const NO_SHELL = "/usr/sbin/nologin";
/** Nobody but root can make a file in it, so nothing is ever written while the mount is away. */
const MOUNT_POINT = { owner: "root", group: "root", mode: "0555" } as const;
const KEY_ITEM: ItemName = `key:${REPLICA_KEY}`;
const UNIT_ITEM: ItemName = `unit:${REPLICA_UNIT}`;

function accountOf(document: ReplicaDocument): ReplicaAccount {
  if (document.account) return document.account;
  throw wrongDocument(document, "an account");
}

function remoteOf(document: ReplicaDocument): ReplicaRemote {
  if (document.remote) return document.remote;
  throw wrongDocument(document, "a remote");
}

function wrongDocument(document: ReplicaDocument, missing: string): Refusal {
  return new Refusal({
    code: "replica-document",
    what: `the replica document of a ${document.role} via ${document.via} has no part that names ${missing}`,
    received: JSON.stringify(document),
    why: "without it nobody knows where the replica lies and who may write it",
    fix: "send documents made by this very version of twofold ('pulumi up' does, and so do the verbs)",
  });
}

function refuseNfs(document: ReplicaDocument): void {
  if (document.via !== "nfs") return;
  throw new Refusal({
    code: "replica-nfs",
    what: "a replica over NFS can't be set up by this version",
    received: `via: nfs, for ${document.directory}`,
    why: "its durability could not be tested, and a replica that isn't one is worse than none",
    fix: "use via: sshfs, or mount it yourself and declare it as via: local",
  });
}

export function replicaItems(document: ReplicaDocument): ItemName[] {
  if (document.role === "target") {
    const { name, chroot } = accountOf(document);
    return [
      `user:${name}`,
      `directory:${chroot}`,
      `directory:${document.directory}`,
      "directory:/etc/twofold",
      `directory:${AUTHORIZED_KEYS_DIRECTORY}`,
      `file:${authorizedKeysOf(name)}`,
      `file:${sshdFileOf(name)}`,
    ];
  }
  if (document.via === "local") return [`directory:${document.directory}`];
  return [
    "directory:/etc/twofold",
    `directory:${dirname(REPLICA_KEY)}`,
    KEY_ITEM,
    `directory:${mountPointParent(document.directory)}`,
    `directory:${document.directory}`,
    ...replicaSourceFiles(document, remoteOf(document), { uid: 0, gid: 0 }).map(({ path }): ItemName => `file:${path}`),
    UNIT_ITEM,
  ];
}

export function planReplica(facts: ReplicaFacts, document: ReplicaDocument): Action[] {
  refuseNfs(document);
  if (facts.role === "target") return planTarget(facts, document, accountOf(document));
  return document.via === "local" ? planLocal(facts, document) : planSource(facts, document, remoteOf(document));
}

function planTarget(facts: TargetFacts, document: ReplicaDocument, account: ReplicaAccount): Action[] {
  refuseRootDisk(facts, document, account);
  refuseAncestors(facts, account);
  refuseSshdWithoutInclude(facts);
  const entry = (path: string) => facts.entries.get(path);
  const keys = authorizedKeysOf(account.name);
  const { key } = facts;
  return [
    ...planAccount(facts, account),
    // sshd wants the chroot to be root's, so what the account may write is a directory in it.
    ...planDirectory(account.chroot, entry(account.chroot), ROOT_DIRECTORY),
    ...planDirectory(document.directory, entry(document.directory), {
      owner: account.name,
      group: account.name,
      mode: "0700",
    }),
    ...planDirectory("/etc/twofold", entry("/etc/twofold"), ROOT_DIRECTORY),
    ...planDirectory(AUTHORIZED_KEYS_DIRECTORY, entry(AUTHORIZED_KEYS_DIRECTORY), ROOT_DIRECTORY),
    // Before the source's key has been brought here (`replica-authorize`) there is nothing to authorize.
    ...(key === undefined ? [] : planFile(keys, entry(keys), renderAuthorizedReplica(document.node, key), ROOT_FILE)),
    ...planSshd(facts, account),
  ];
}

function refuseRootDisk(facts: TargetFacts, document: ReplicaDocument, { chroot }: ReplicaAccount): void {
  if (facts.ownVolume) return;
  throw new Refusal({
    code: "replica-volume",
    what: `the replica of ${document.node} would lie on this host's root filesystem`,
    received: `${chroot} is on the same filesystem as /`,
    why: "the replica would fill the disk that the host itself lives on, or is hidden by its volume when that is mounted again",
    fix: "declare a volume for this host and put the replica's path on it; if it has one, mount it (the storage stage does)",
  });
}

function refuseAncestors(facts: TargetFacts, { chroot }: ReplicaAccount): void {
  const bad = facts.ancestors.find(
    ({ entry }) =>
      entry.kind !== "directory" || entry.owner !== "root" || (Number.parseInt(entry.mode, 8) & 0o022) !== 0,
  );
  if (!bad) return;
  const { path, entry } = bad;
  throw new Refusal({
    code: "replica-chroot",
    what: `sshd would refuse ${chroot} as a chroot`,
    received: `${path} is a ${entry.kind} of ${entry.owner}:${entry.group} with mode ${entry.mode}`,
    why: "every directory above a chroot has to be root's, and writable by root alone (sshd_config(5), ChrootDirectory)",
    fix: `chown root ${path} and chmod go-w ${path}, or put the replica elsewhere`,
  });
}

function refuseSshdWithoutInclude({ sshdConfig }: TargetFacts): void {
  if (/^\s*Include\s+(\S+\s+)*\/etc\/ssh\/sshd_config\.d\/\*\.conf/im.test(sshdConfig)) return;
  throw new Refusal({
    code: "replica-sshd",
    what: "this host's sshd does not read /etc/ssh/sshd_config.d",
    received: "/etc/ssh/sshd_config without 'Include /etc/ssh/sshd_config.d/*.conf'",
    why: "the account of the replica would not be confined to its directory",
    fix: "put that line at the top of /etc/ssh/sshd_config, as the distribution has it",
  });
}

function planAccount(facts: TargetFacts, { name, chroot }: ReplicaAccount): Action[] {
  const item: ItemName = `user:${name}`;
  const { account } = facts;
  if (!account)
    return [
      { kind: "create-group", item, summary: `make group ${name}`, name },
      {
        kind: "replica/create-account",
        item,
        summary: `make account ${name}, for SFTP into ${chroot}`,
        name,
        home: chroot,
      },
    ];
  if (account.home === chroot && account.shell === NO_SHELL) return [];
  const summary = `give account ${name} its home ${chroot} and shell ${NO_SHELL}, now ${account.home} and ${account.shell}`;
  return [{ kind: "replica/change-account", item, summary, name, home: chroot }];
}

function planSshd(facts: TargetFacts, account: ReplicaAccount): Action[] {
  const path = sshdFileOf(account.name);
  const planned = planFile(path, facts.entries.get(path), renderReplicaSshd(account), ROOT_FILE);
  return planned.flatMap((action): Action[] => {
    if (action.kind !== "write-file") return [action];
    const { item, summary, content } = action;
    return [
      { kind: "replica/write-sshd", item, summary, path, content },
      { kind: "replica/reload-sshd", item, summary: "let sshd read its config again", consequence: true },
    ];
  });
}

/** On the node's own host: the directory. That it lies on other disks than main is checked where both are known (lightningd stage). */
function planLocal(facts: SourceFacts, document: ReplicaDocument): Action[] {
  const { directory, user, group } = document;
  return planDirectory(directory, facts.entries.get(directory), { owner: user, group, mode: "0700" });
}

function planSource(facts: SourceFacts, document: ReplicaDocument, remote: ReplicaRemote): Action[] {
  const entry = (path: string) => facts.entries.get(path);
  const { directory } = document;
  const parent = mountPointParent(directory);
  const files = replicaSourceFiles(document, remote, facts.ids).flatMap(({ path, content }) =>
    planFile(path, entry(path), content, ROOT_FILE),
  );
  const rewritten = files.some((action) => action.kind === "write-file");
  return [
    ...planDirectory("/etc/twofold", entry("/etc/twofold"), ROOT_DIRECTORY),
    ...planDirectory(dirname(REPLICA_KEY), entry(dirname(REPLICA_KEY)), ROOT_DIRECTORY),
    ...planKey(facts, document),
    ...planDirectory(parent, entry(parent), ROOT_DIRECTORY),
    ...(facts.mount ? [] : planDirectory(directory, entry(directory), MOUNT_POINT)),
    ...files,
    ...planUnit(facts, rewritten),
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

function planUnit({ unit, mount }: SourceFacts, rewritten: boolean): Action[] {
  const actions: Action[] = [];
  if (rewritten || unit?.needsReload)
    actions.push({
      kind: "daemon-reload",
      item: UNIT_ITEM,
      summary: "let systemd read its units again",
      ...(rewritten ? { consequence: true as const } : {}),
    });
  if (unit?.enabled !== "enabled")
    actions.push({
      kind: "enable-unit",
      item: UNIT_ITEM,
      summary: `enable ${REPLICA_UNIT}, now ${unit?.enabled || "not there"}`,
      unit: REPLICA_UNIT,
    });
  const mounted = unit?.active === "active" && mount?.type === "fuse.sshfs";
  if (mounted && rewritten)
    actions.push({
      kind: "replica/remount",
      item: UNIT_ITEM,
      summary: "mount the replica anew with its new settings, lightningd stopped meanwhile",
      startedAt: unit.startedAt,
      consequence: true,
    });
  if (!mounted)
    actions.push({
      kind: "replica/mount",
      item: UNIT_ITEM,
      summary: `mount the replica, now ${mount ? `a mount of type ${mount.type}` : "not mounted"}`,
    });
  return actions;
}
