/** What the replica stage reads of a host. */
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import {
  AUTHORIZED_KEYS_DIRECTORY,
  authorizedKeysOf,
  EXPORTS_DIRECTORY,
  exportsFileOf,
  mountPointParent,
  NFS_SERVER,
  REPLICA_KNOWN_HOSTS,
  REPLICA_SSH_CONFIG,
  REPLICA_UNIT,
  REPLICA_UNIT_FILE,
  sshdFileOf,
} from "../../../templates/replica.ts";
import { readBroughtKey } from "../brought-key.ts";
import type { ReplicaDocument } from "../contract.ts";
import { type Ran, run } from "../process.ts";
import {
  accountIds,
  type Entry,
  type Mount,
  mountAt,
  readAccounts,
  readEntries,
  readEntry,
  readMounts,
  readText,
  readUnits,
  type Unit,
} from "../read.ts";
import { type Account, parsePasswd } from "../witness/facts.ts";
import { REPLICA_KEY } from "./key.ts";

export interface Export {
  path: string;
  client: string;
}

/** Lines of exportfs's etab: "PATH	CLIENT(OPTIONS)". */
export function parseExports(etab: string): Export[] {
  return etab.split("\n").flatMap((line) => {
    const [, path, client] = /^(\S+)\t([^(]+)\(/.exec(line) ?? [];
    return path === undefined || client === undefined ? [] : [{ path, client }];
  });
}

/** From sshd's effective config, as `sshd -T` prints it. */
export function servesSftp({ status, stdout }: Pick<Ran, "status" | "stdout">): boolean | undefined {
  return status === 0 ? /^subsystem sftp /m.test(stdout) : undefined;
}

export interface TargetFacts {
  role: "target";
  account: Account | undefined;
  entries: Map<string, Entry | undefined>;
  /** The chroot's parents that are there, from "/" down; sshd wants all of them to be root's. */
  ancestors: { path: string; entry: Entry }[];
  /** The chroot, or where it will be made, is on another filesystem than "/". */
  ownVolume: boolean;
  /** The public key with which the node's host may log in, undefined before `replica-authorize`. */
  key: string | undefined;
  /** sshd's main config, which has to include the folder of the drop-in. */
  sshdConfig: string;
  /** sshd answers requests for SFTP (sshd_config(5), "Subsystem"); undefined if sshd does not say what it does. */
  servesSftp: boolean | undefined;
  nfsServer: Unit | undefined;
  /** What the NFS server lets be mounted now, and by whom. */
  exports: Export[];
}

export interface SourceFacts {
  role: "source";
  entries: Map<string, Entry | undefined>;
  /** Numbers of the account that runs lightningd. */
  ids: { uid: number; gid: number };
  /** What is mounted at the replica's directory. */
  mount: Mount | undefined;
  unit: Unit | undefined;
}

export type ReplicaFacts = TargetFacts | SourceFacts;

export async function readReplicaFacts(document: ReplicaDocument): Promise<ReplicaFacts> {
  return document.role === "target" ? readTarget(document) : readSource(document);
}

/** "/", "/srv", "/srv/alice" for "/srv/alice". */
export function pathAndParents(path: string): string[] {
  const paths = [path];
  for (let each = path; each !== "/"; each = dirname(each)) paths.unshift(dirname(each));
  return paths;
}

async function readTarget(document: ReplicaDocument): Promise<TargetFacts> {
  const { name = "", chroot = "/" } = document.account ?? {};
  const accounts = await readAccounts();
  const found = await Promise.all(
    pathAndParents(dirname(chroot)).map(async (path) => ({ path, entry: await readEntry(path, accounts) })),
  );
  const ancestors = found.filter((each): each is { path: string; entry: Entry } => each.entry !== undefined);
  const ssh = ["/etc/twofold", AUTHORIZED_KEYS_DIRECTORY, authorizedKeysOf(name), sshdFileOf(name)];
  const nfs = [EXPORTS_DIRECTORY, exportsFileOf(document.node)];
  const [entries, units] = await Promise.all([
    readEntries([chroot, document.directory, ...ssh, ...nfs]),
    readUnits(document.via === "nfs" ? [NFS_SERVER] : []),
  ]);
  const deepest = entries.get(chroot) ? chroot : (ancestors.at(-1)?.path ?? "/");
  return {
    role: "target",
    account: parsePasswd((await readText("/etc/passwd")) ?? "").get(name),
    key: await readBroughtKey(name),
    entries,
    ancestors,
    ownVolume: (await stat(deepest)).dev !== (await stat("/")).dev,
    sshdConfig: (await readText("/etc/ssh/sshd_config")) ?? "",
    servesSftp: servesSftp(await run("/usr/sbin/sshd", ["-T"])),
    nfsServer: units.get(NFS_SERVER),
    exports: parseExports((await readText("/var/lib/nfs/etab")) ?? ""),
  };
}

async function readSource(document: ReplicaDocument): Promise<SourceFacts> {
  const { directory } = document;
  const mount = mountAt(await readMounts(), directory);
  const keys = ["/etc/twofold", dirname(REPLICA_KEY), REPLICA_KEY];
  const files = [REPLICA_SSH_CONFIG, REPLICA_KNOWN_HOSTS, REPLICA_UNIT_FILE];
  const [entries, units, ids] = await Promise.all([
    // A mount point with something on it shows the other side, and may hang when that one is gone.
    readEntries([...keys, ...files, mountPointParent(directory), ...(mount ? [] : [directory])]),
    readUnits([REPLICA_UNIT]),
    accountIds({ owner: document.user, group: document.group }),
  ]);
  return { role: "source", entries, ids, mount, unit: units.get(REPLICA_UNIT) };
}
