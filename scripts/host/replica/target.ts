/** The host that keeps a replica: an account, its directory, and the one declared way to it. Pure. */
import {
  AUTHORIZED_KEYS_DIRECTORY,
  authorizedKeysOf,
  EXPORTS_DIRECTORY,
  exportsFileOf,
  NFS_SERVER,
  type ReplicaAccount,
  type ReplicaExport,
  renderAuthorizedReplica,
  renderReplicaExports,
  renderReplicaSshd,
  sshdFileOf,
} from "../../../templates/replica.ts";
import type { ReplicaDocument } from "../contract.ts";
import { planDirectory, planFile, planRunningUnit, ROOT_DIRECTORY, ROOT_FILE } from "../planning.ts";
import { type ItemName, Refusal } from "../stage.ts";
import { type Action, planNoFile } from "./actions.ts";
import { accountOf, exportOf } from "./document.ts";
import { type Export, pathAndParents, type TargetFacts } from "./facts.ts";

const NO_SHELL = "/usr/sbin/nologin";

export function targetItems(document: ReplicaDocument): ItemName[] {
  const { name, chroot } = accountOf(document);
  return [
    `user:${name}`,
    `directory:${chroot}`,
    `directory:${document.directory}`,
    ...(document.via === "nfs" ? exportItems(document) : sftpItems(name)),
  ];
}

const exportItems = ({ node }: ReplicaDocument): ItemName[] => [
  `directory:${EXPORTS_DIRECTORY}`,
  `file:${exportsFileOf(node)}`,
  `unit:${NFS_SERVER}`,
];

function sftpItems(account: string): ItemName[] {
  return [
    "directory:/etc/twofold",
    `directory:${AUTHORIZED_KEYS_DIRECTORY}`,
    `file:${authorizedKeysOf(account)}`,
    `file:${sshdFileOf(account)}`,
  ];
}

export function planTarget(facts: TargetFacts, document: ReplicaDocument): Action[] {
  const account = accountOf(document);
  const overNfs = document.via === "nfs";
  refuseRootDisk(facts, document, account);
  refuseAncestors(facts, account);
  if (overNfs) refuseStrangersExport(facts, document, exportOf(document));
  else {
    refuseSshdWithoutInclude(facts);
    refuseSshdWithoutSftp(facts);
  }
  const entry = (path: string) => facts.entries.get(path);
  return [
    ...planAccount(facts, account),
    // sshd wants the chroot to be root's, so what the account may write is a directory in it.
    ...planDirectory(account.chroot, entry(account.chroot), ROOT_DIRECTORY),
    ...planDirectory(document.directory, entry(document.directory), {
      owner: account.name,
      group: account.name,
      mode: "0700",
    }),
    // The way that is not declared any more is closed first.
    ...(overNfs ? planNoSftp(facts, account) : planNoExport(facts, document)),
    ...(overNfs ? planExport(facts, document, exportOf(document)) : planSftp(facts, document, account)),
  ];
}

function planSftp(facts: TargetFacts, document: ReplicaDocument, account: ReplicaAccount): Action[] {
  const entry = (path: string) => facts.entries.get(path);
  const keys = authorizedKeysOf(account.name);
  const { key } = facts;
  return [
    ...planDirectory("/etc/twofold", entry("/etc/twofold"), ROOT_DIRECTORY),
    ...planDirectory(AUTHORIZED_KEYS_DIRECTORY, entry(AUTHORIZED_KEYS_DIRECTORY), ROOT_DIRECTORY),
    // Before the source's key has been brought here (`replica-authorize`) there is nothing to authorize.
    ...(key === undefined ? [] : planFile(keys, entry(keys), renderAuthorizedReplica(document.node, key), ROOT_FILE)),
    ...planSshd(facts, account),
  ];
}

/** The keys go before what confines those who come with them. */
function planNoSftp(facts: TargetFacts, { name }: ReplicaAccount): Action[] {
  const dropIn = sshdFileOf(name);
  const why = "the replica is not written over SFTP any more";
  return [
    ...planNoFile(facts.entries, authorizedKeysOf(name), why),
    ...planNoFile(facts.entries, dropIn, why).flatMap((removal): Action[] => [removal, reloadSshd(removal.item)]),
  ];
}

const reloadSshd = (item: ItemName): Action => ({
  kind: "replica/reload-sshd",
  item,
  summary: "let sshd read its config again",
  consequence: true,
});

function planExport(facts: TargetFacts, document: ReplicaDocument, exported: ReplicaExport): Action[] {
  const entry = (path: string) => facts.entries.get(path);
  const path = exportsFileOf(document.node);
  // The account's numbers are known once it is made.
  const file =
    facts.account === undefined
      ? []
      : planFile(path, entry(path), renderReplicaExports(document, exported, facts.account), ROOT_FILE);
  const written = file.some(({ kind }) => kind === "write-file");
  const exportedNow = facts.exports.some((each) => isOwn(each, document, exported));
  return [
    ...planDirectory(EXPORTS_DIRECTORY, entry(EXPORTS_DIRECTORY), ROOT_DIRECTORY),
    ...file,
    // What starts the server exports as well.
    ...planRunningUnit(NFS_SERVER, facts.nfsServer),
    ...(written ? [{ ...exportAnew(path), consequence: true as const }] : []),
    ...(!written && facts.account !== undefined && !exportedNow ? [exportAnew(path)] : []),
  ];
}

const isOwn = (each: Export, { directory }: ReplicaDocument, { client }: ReplicaExport) =>
  each.path === directory && each.client === client;

/** An export of the administrator's that shows the replica to others; the options of ours would not hold there. */
function refuseStrangersExport(facts: TargetFacts, document: ReplicaDocument, exported: ReplicaExport): void {
  const { directory } = document;
  // What the own file says, for an earlier address or by another hand, goes when the file is written.
  const ofOwnFile = ({ path, client }: Export) =>
    facts.entries.get(exportsFileOf(document.node))?.content?.includes(`${path} ${client}(`) ?? false;
  const found = facts.exports.find(
    (each) => pathAndParents(directory).includes(each.path) && !isOwn(each, document, exported) && !ofOwnFile(each),
  );
  if (found === undefined) return;
  throw new Refusal({
    code: "replica-exported",
    what: `this host's NFS server shows the directory of ${document.node}'s replica to others`,
    received: `${found.path} is exported to ${found.client} (exportfs -v)`,
    why: "who may mount it can read the wallet, and perhaps write it",
    fix: "take that export away (/etc/exports, exportfs -r), or put the replica on a volume that is not exported",
  });
}

/** The server goes on: it may have other exports. */
function planNoExport(facts: TargetFacts, document: ReplicaDocument): Action[] {
  const why = "the replica is not written over NFS any more";
  const path = exportsFileOf(document.node);
  return planNoFile(facts.entries, path, why).flatMap((removal): Action[] => [
    removal,
    { ...exportAnew(path), consequence: true },
  ]);
}

const exportAnew = (path: string): Action => ({
  kind: "replica/export",
  item: `file:${path}`,
  summary: "make the NFS server's exports what its files say",
});

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
    what: `others than root can write above ${chroot}`,
    received: `${path} is a ${entry.kind} of ${entry.owner}:${entry.group} with mode ${entry.mode}`,
    why: "who can write above the replica's directory can put another one in its place, and sshd takes no such chroot (sshd_config(5))",
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

/** "internal-sftp" as a forced command is only reached by a request that sshd takes. */
function refuseSshdWithoutSftp({ servesSftp }: TargetFacts): void {
  if (servesSftp !== false) return;
  throw new Refusal({
    code: "replica-sftp",
    what: "this host's sshd serves no SFTP",
    received: "no 'subsystem sftp' in what sshd -T prints",
    why: "the replica is written over SFTP, so it could never be mounted",
    fix: "put 'Subsystem sftp internal-sftp' into /etc/ssh/sshd_config and reload sshd",
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
        summary: `make account ${name}, which the replica in ${chroot} belongs to`,
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
    return [{ kind: "replica/write-sshd", item, summary, path, content }, reloadSshd(item)];
  });
}
