import test from "ava";
import type { ReplicaDocument } from "../../scripts/host/contract.ts";
import type { Entry } from "../../scripts/host/read.ts";
import {
  parseExports,
  pathAndParents,
  type SourceFacts,
  servesSftp,
  type TargetFacts,
} from "../../scripts/host/replica/facts.ts";
import { sftpFault, writesReplica } from "../../scripts/host/replica/mount.ts";
import { planReplica, replicaItems } from "../../scripts/host/replica/plan.ts";
import { connectionsOf, lossOf } from "../../scripts/host/replica/watch.ts";
import type { Refusal } from "../../scripts/host/stage.ts";
import { renderReplicaSshConfig } from "../../templates/replica.ts";

const ACCOUNT = "twofold-replica-alice";
const CHROOT = "/srv/vault/alice";
const DIRECTORY = "/var/lib/twofold-replica/alice";
const REMOTE = {
  host: "vault",
  address: "192.0.2.20",
  port: 2222,
  user: ACCOUNT,
  hostKey: "ssh-ed25519 AAAAhost",
  identityFile: "/etc/twofold/keys/replica",
  path: "/wallet",
};
const TARGET: ReplicaDocument = {
  stage: "replica",
  host: "vault",
  node: "alice",
  role: "target",
  via: "sshfs",
  directory: `${CHROOT}/wallet`,
  account: { name: ACCOUNT, chroot: CHROOT },
  user: ACCOUNT,
  group: ACCOUNT,
};
const SOURCE: ReplicaDocument = {
  stage: "replica",
  host: "alice",
  node: "alice",
  role: "source",
  via: "sshfs",
  directory: DIRECTORY,
  remote: REMOTE,
  user: "bitcoin",
  group: "bitcoin",
};
const NFS_TARGET: ReplicaDocument = {
  ...TARGET,
  via: "nfs",
  nfs: {
    client: "10.0.0.10",
    volume: { mount: "/srv/vault", uuid: "8d1f1ac5-9ba5-8c49-a0c6-98a1bb4a9ae1" },
  },
};
const NFS_SOURCE: ReplicaDocument = {
  ...SOURCE,
  via: "nfs",
  remote: { ...REMOTE, address: "10.0.0.20", path: `${CHROOT}/wallet` },
};
const EXPORTS = "/etc/exports.d/twofold-alice.exports";
const UNIT_FILE = "/etc/systemd/system/twofold-replica.service";

const directory = (mode = "0755", owner = "root"): Entry => ({ kind: "directory", owner, group: owner, mode });
const newTarget = (): TargetFacts => ({
  role: "target",
  account: undefined,
  entries: new Map(),
  ancestors: ["/", "/srv", "/srv/vault"].map((path) => ({ path, entry: directory() })),
  ownVolume: true,
  key: undefined,
  sshdConfig: "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n",
  servesSftp: true,
  nfsServer: undefined,
  exports: [],
});
const newSource = (): SourceFacts => ({
  role: "source",
  entries: new Map(),
  ids: { uid: 995, gid: 994 },
  mount: undefined,
  unit: undefined,
});

/** The facts after everything that a plan writes is there. */
function written<F extends TargetFacts | SourceFacts>(facts: F, document: ReplicaDocument): F {
  const entries = new Map(facts.entries);
  for (const action of planReplica(facts, document)) {
    if (action.kind === "make-directory") entries.set(action.path, { kind: "directory", ...action.ownership });
    if (action.kind === "write-file")
      entries.set(action.path, { kind: "file", content: action.content, ...action.ownership });
    if (action.kind === "replica/write-sshd")
      entries.set(action.path, { kind: "file", content: action.content, owner: "root", group: "root", mode: "0644" });
    if (action.kind === "remove-file") entries.delete(action.path);
    if (action.kind === "replica/make-key")
      entries.set(action.path, { kind: "file", content: "", owner: "root", group: "root", mode: "0400" });
  }
  return { ...facts, entries };
}

const readyTarget = (): TargetFacts => ({
  ...written(newTarget(), TARGET),
  account: { uid: 990, gid: 990, home: CHROOT, shell: "/usr/sbin/nologin" },
});
const RUNNING: SourceFacts["unit"] = {
  load: "loaded",
  active: "active",
  sub: "running",
  enabled: "enabled",
  needsReload: false,
  mainPid: 314,
  startedAt: 1_000_000,
};
const readyNfsTarget = (): TargetFacts => {
  const { account } = readyTarget();
  const exports = [{ path: `${CHROOT}/wallet`, client: "10.0.0.10" }];
  return { ...written({ ...newTarget(), account }, NFS_TARGET), nfsServer: { ...RUNNING, sub: "exited" }, exports };
};
const readyNfsSource = (): SourceFacts => ({
  ...written(newSource(), NFS_SOURCE),
  mount: { target: DIRECTORY, type: "nfs4", source: `10.0.0.20:${CHROOT}/wallet`, options: [] },
  unit: RUNNING,
});
const readySource = (): SourceFacts => ({
  ...written(newSource(), SOURCE),
  mount: { target: DIRECTORY, type: "fuse.sshfs", source: "replica:/wallet", options: [] },
  unit: RUNNING,
});
const planOf = (facts: TargetFacts | SourceFacts, document: ReplicaDocument) =>
  planReplica(facts, document).map((action) => `${"consequence" in action ? "~" : ""}${action.kind} ${action.item}`);
const codeOf = (facts: TargetFacts | SourceFacts, document: ReplicaDocument) => {
  try {
    planReplica(facts, document);
    return "none";
  } catch (error) {
    return (error as Refusal).code;
  }
};

test("nothing is done on hosts that are as the documents say", (t) => {
  t.deepEqual(planOf(readyTarget(), TARGET), []);
  t.deepEqual(planOf(readySource(), SOURCE), []);
  t.deepEqual(planOf(readyNfsTarget(), NFS_TARGET), []);
  t.deepEqual(planOf(readyNfsSource(), NFS_SOURCE), []);
});

test("the replica's host gets an account, its directories, and a config that sshd has to accept", (t) => {
  t.deepEqual(planOf(newTarget(), TARGET), [
    `create-group user:${ACCOUNT}`,
    `replica/create-account user:${ACCOUNT}`,
    `make-directory directory:${CHROOT}`,
    `make-directory directory:${CHROOT}/wallet`,
    "make-directory directory:/etc/twofold",
    "make-directory directory:/etc/twofold/authorized_keys",
    `replica/write-sshd file:/etc/ssh/sshd_config.d/${ACCOUNT}.conf`,
    `~replica/reload-sshd file:/etc/ssh/sshd_config.d/${ACCOUNT}.conf`,
  ]);
});

test("the account may write its own directory and not the chroot around it", (t) => {
  const entries = written(newTarget(), TARGET).entries;
  t.like(entries.get(CHROOT), { owner: "root", mode: "0755" });
  t.like(entries.get(`${CHROOT}/wallet`), { owner: ACCOUNT, mode: "0700" });
});

test("sshd's config gives the account SFTP in its chroot and nothing else", (t) => {
  const content = written(newTarget(), TARGET).entries.get(`/etc/ssh/sshd_config.d/${ACCOUNT}.conf`)?.content ?? "";
  const lines = content
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  t.is(lines[0], `Match User ${ACCOUNT}`);
  for (const line of [
    `ChrootDirectory ${CHROOT}`,
    "ForceCommand internal-sftp",
    "DisableForwarding yes",
    "PermitTTY no",
    "AuthenticationMethods publickey",
    `AuthorizedKeysFile /etc/twofold/authorized_keys/${ACCOUNT}`,
  ])
    t.true(lines.includes(line), line);
});

test("the key that was brought is the only one that is let in, and a file that is gone comes back", (t) => {
  const path = `/etc/twofold/authorized_keys/${ACCOUNT}`;
  const facts = { ...readyTarget(), key: "ssh-ed25519 AAAAkey" };
  const wanted = "restrict ssh-ed25519 AAAAkey twofold replica alice\n";
  const put = (content: string | undefined) => {
    const file =
      content === undefined
        ? undefined
        : ({ kind: "file", content, owner: "root", group: "root", mode: "0644" } satisfies Entry);
    return planReplica({ ...facts, entries: new Map(facts.entries).set(path, file) }, TARGET);
  };
  t.deepEqual(put(wanted), []);
  for (const content of [
    "ssh-ed25519 AAAAkey me\nssh-ed25519 AAAAother\n",
    "restrict ssh-ed25519 AAAAother\n",
    undefined,
  ]) {
    t.like(put(content), { 0: { kind: "write-file", path, content: wanted }, length: 1 });
  }
});

test("refuses a replica on the root filesystem of its host, which is also what a missing volume looks like", (t) => {
  t.is(codeOf({ ...newTarget(), ownVolume: false }, TARGET), "replica-volume");
});

test("refuses a chroot under a directory that others than root can write", (t) => {
  const facts = (entry: Entry) => ({ ...newTarget(), ancestors: [{ path: "/srv", entry }] });
  for (const entry of [directory("0775"), directory("0757"), directory("0755", "bitcoin")])
    t.is(codeOf(facts(entry), TARGET), "replica-chroot");
  t.is(codeOf(facts(directory("0711")), TARGET), "none");
});

test("refuses a host whose sshd doesn't read the folder of the drop-in", (t) => {
  t.is(codeOf({ ...newTarget(), sshdConfig: "#Include /etc/ssh/sshd_config.d/*.conf\n" }, TARGET), "replica-sshd");
});

test("refuses a host whose sshd serves no SFTP, before anything is changed", (t) => {
  t.is(codeOf({ ...newTarget(), servesSftp: false }, TARGET), "replica-sftp");
  t.is(codeOf({ ...newTarget(), servesSftp: undefined }, TARGET), "none");
  t.is(codeOf({ ...newTarget(), servesSftp: false }, NFS_TARGET), "none");
  t.true(servesSftp({ status: 0, stdout: "port 22\nsubsystem sftp internal-sftp\n" }));
  t.false(servesSftp({ status: 0, stdout: "port 22\n#subsystem sftp internal-sftp\n" }));
  t.is(servesSftp({ status: 255, stdout: "" }), undefined);
});

test("an SFTP server that does not offer fsync is in the way of the mount", (t) => {
  const answered = (stdout: string, status = 0) => ({
    status,
    stdout,
    stderr: status === 0 ? "" : "Permission denied",
  });
  t.is(sftpFault(answered("\0\0\0\x40\x02\0\0\0\x03fsync@openssh.com\0\0\0\x011")), undefined);
  t.regex(sftpFault(answered("\0\0\0\x05\x02\0\0\0\x03")) ?? "", /does not offer fsync@openssh\.com/);
  t.is(sftpFault(answered("", 255)), "Permission denied");
  t.regex(sftpFault(answered("")) ?? "", /did not answer/);
});

test("over NFS the replica's host gets the account and its directory, and the export once the account has its numbers", (t) => {
  t.deepEqual(planOf(newTarget(), NFS_TARGET), [
    `create-group user:${ACCOUNT}`,
    `replica/create-account user:${ACCOUNT}`,
    `make-directory directory:${CHROOT}`,
    `make-directory directory:${CHROOT}/wallet`,
    "make-directory directory:/etc/exports.d",
    "enable-unit unit:nfs-server.service",
    "start-unit unit:nfs-server.service",
  ]);
  const { account } = readyTarget();
  t.deepEqual(planOf({ ...written(newTarget(), NFS_TARGET), account }, NFS_TARGET), [
    `write-file file:${EXPORTS}`,
    "enable-unit unit:nfs-server.service",
    "start-unit unit:nfs-server.service",
    `~replica/export file:${EXPORTS}`,
  ]);
});

/** Directory, client and options of the one line that is no comment. */
function exported(facts: TargetFacts) {
  const lines = (facts.entries.get(EXPORTS)?.content ?? "").split("\n").filter((line) => !/^(#.*)?$/.test(line));
  const [, path, client, options = ""] = /^(\S+) ([^\s(]+)\((\S+)\)$/.exec(lines.join("\n")) ?? [];
  return { path, client, options: options.split(",") };
}

test("the export is for one address, answers after the disk, lets everybody be the replica's account, and only while its volume is mounted", (t) => {
  const { path, client, options } = exported(readyNfsTarget());
  t.deepEqual([path, client], [`${CHROOT}/wallet`, "10.0.0.10"]);
  for (const option of ["rw", "sync", "secure", "all_squash", "anonuid=990", "anongid=990", "mountpoint=/srv/vault"])
    t.true(options.includes(option), option);
  t.true(options.includes("fsid=8d1f1ac5-9ba5-8c49-a0c6-98a1bb4a9ae1"));
  t.false(options.some((option) => /^(async|insecure|no_root_squash|no_all_squash|crossmnt)$/.test(option)));
});

test("an account that got other numbers is exported anew, and a server that stands still is started", (t) => {
  const facts = readyNfsTarget();
  const account = { uid: 123, gid: 124, home: CHROOT, shell: "/usr/sbin/nologin" };
  t.deepEqual(planOf({ ...facts, account }, NFS_TARGET), [
    `write-file file:${EXPORTS}`,
    `~replica/export file:${EXPORTS}`,
  ]);
  const { options } = exported(written({ ...facts, account }, NFS_TARGET));
  t.true(options.includes("anonuid=123") && options.includes("anongid=124"));
  t.deepEqual(
    planOf({ ...facts, nfsServer: { ...RUNNING, active: "failed" } as TargetFacts["nfsServer"] }, NFS_TARGET),
    ["start-unit unit:nfs-server.service"],
  );
});

test("an export that somebody took back is drift, and made again", (t) => {
  t.deepEqual(planOf({ ...readyNfsTarget(), exports: [] }, NFS_TARGET), [`replica/export file:${EXPORTS}`]);
  const other = [{ path: "/srv/other", client: "10.0.0.10" }];
  t.deepEqual(planOf({ ...readyNfsTarget(), exports: other }, NFS_TARGET), [`replica/export file:${EXPORTS}`]);
});

test("refuses a directory that the host's NFS server shows to others, by whichever name", (t) => {
  const facts = readyNfsTarget();
  for (const path of ["/", "/srv", "/srv/vault", CHROOT, `${CHROOT}/wallet`]) {
    const exports = [...facts.exports, { path, client: "*" }];
    t.is(codeOf({ ...facts, exports }, NFS_TARGET), "replica-exported", path);
  }
  for (const path of ["/srv/vault/al", "/srv/other", `${CHROOT}/wallet2`]) {
    const exports = [...facts.exports, { path, client: "*" }];
    t.deepEqual(planOf({ ...facts, exports }, NFS_TARGET), [], path);
  }
});

test("another address of the node's host is exported instead of the earlier one", (t) => {
  const nfs = { client: "10.0.0.11", volume: { mount: "/srv/vault", uuid: "8d1f1ac5-9ba5-8c49-a0c6-98a1bb4a9ae1" } };
  t.deepEqual(planOf(readyNfsTarget(), { ...NFS_TARGET, nfs }), [
    `write-file file:${EXPORTS}`,
    `~replica/export file:${EXPORTS}`,
  ]);
});

test("the exports of a host are read as exportfs writes them down", (t) => {
  const etab =
    "/srv/vault/alice/wallet\t10.0.0.10(rw,sync,wdelay,mountpoint=/srv/vault,sec=sys,rw,all_squash)\n" +
    "/srv/pub\t*(ro,sync)\n/srv/six\tfd00::10(rw)\n";
  t.deepEqual(parseExports(etab), [
    { path: "/srv/vault/alice/wallet", client: "10.0.0.10" },
    { path: "/srv/pub", client: "*" },
    { path: "/srv/six", client: "fd00::10" },
  ]);
  t.deepEqual(parseExports(""), []);
});

test("refuses over NFS what it refuses over SFTP, but asks nothing of sshd", (t) => {
  t.is(codeOf({ ...newTarget(), ownVolume: false }, NFS_TARGET), "replica-volume");
  const open = { ...newTarget(), ancestors: [{ path: "/srv", entry: directory("0777") }] };
  t.is(codeOf(open, NFS_TARGET), "replica-chroot");
  t.is(codeOf({ ...newTarget(), sshdConfig: "" }, NFS_TARGET), "none");
});

test("refuses a document over NFS that doesn't say to whom", (t) => {
  t.is(codeOf(newTarget(), { ...TARGET, via: "nfs" }), "replica-document");
});

test("from SFTP to NFS and back each way is closed on the replica's host when the other one is declared, the keys first", (t) => {
  const keys = `/etc/twofold/authorized_keys/${ACCOUNT}`;
  const dropIn = `/etc/ssh/sshd_config.d/${ACCOUNT}.conf`;
  const overSftp = written({ ...readyTarget(), key: "ssh-ed25519 AAAAkey" }, TARGET);
  t.deepEqual(planOf({ ...overSftp, nfsServer: readyNfsTarget().nfsServer }, NFS_TARGET), [
    `remove-file file:${keys}`,
    `remove-file file:${dropIn}`,
    `~replica/reload-sshd file:${dropIn}`,
    "make-directory directory:/etc/exports.d",
    `write-file file:${EXPORTS}`,
    `~replica/export file:${EXPORTS}`,
  ]);
  const overNfs = written(overSftp, NFS_TARGET);
  t.deepEqual(planOf(overNfs, TARGET), [
    `remove-file file:${EXPORTS}`,
    `~replica/export file:${EXPORTS}`,
    `write-file file:${keys}`,
    `replica/write-sshd file:${dropIn}`,
    `~replica/reload-sshd file:${dropIn}`,
  ]);
  t.deepEqual(planOf(written(overNfs, TARGET), TARGET), []);
});

test("over NFS the node's host gets a mount point and the mount, no key, and is told that it was never tested", (t) => {
  t.deepEqual(planOf(newSource(), NFS_SOURCE), [
    "make-directory directory:/var/lib/twofold-replica",
    `make-directory directory:${DIRECTORY}`,
    `write-file file:${UNIT_FILE}`,
    "~daemon-reload unit:twofold-replica.service",
    "enable-unit unit:twofold-replica.service",
    "replica/mount unit:twofold-replica.service",
  ]);
  const said = planReplica(newSource(), NFS_SOURCE).filter(({ summary }) => /never tested/.test(summary));
  t.is(said.length, 1);
  t.false(planReplica(newSource(), SOURCE).some(({ summary }) => /never tested/.test(summary)));
});

test("a mount over NFS fails instead of hanging, keeps no attributes, watches its connection, and is never without its unit", (t) => {
  const lines = (written(newSource(), NFS_SOURCE).entries.get(UNIT_FILE)?.content ?? "").split("\n");
  const mount = lines.find((line) => line.startsWith("ExecStartPre=/usr/bin/mount ")) ?? "";
  t.true(mount.endsWith(` 10.0.0.20:${CHROOT}/wallet ${DIRECTORY}`), mount);
  const options = /--options (\S+)/.exec(mount)?.[1]?.split(",") ?? [];
  for (const option of ["vers=4.2", "proto=tcp", "soft", "actimeo=0", "lookupcache=none", "retry=0"])
    t.true(options.includes(option), option);
  t.false(options.some((option) => /^(hard|bg|nolock|local_lock=.*|nconnect=.*|softreval)$/.test(option)));
  const at = (start: string) => lines.findIndex((line) => line.startsWith(start));
  t.true(at("ExecStartPre=/usr/bin/node /usr/local/lib/twofold/current replica-before-mount") < lines.indexOf(mount));
  t.true(lines.includes(`ExecStart=/usr/bin/node /usr/local/lib/twofold/current replica-watch ${DIRECTORY}`));
  t.true(lines.includes("Restart=always"));
});

test("an IPv6 address is mounted in brackets", (t) => {
  const document = { ...NFS_SOURCE, remote: { ...REMOTE, address: "fd00::20", path: "/srv/x" } };
  const unit = written(newSource(), document).entries.get(UNIT_FILE)?.content ?? "";
  t.true(unit.includes(` [fd00::20]:/srv/x ${DIRECTORY}\n`));
});

test("from SFTP to NFS and back the mount is made anew with lightningd stopped, and what SFTP alone needed goes last", (t) => {
  t.deepEqual(planOf(readySource(), NFS_SOURCE), [
    `write-file file:${UNIT_FILE}`,
    "~daemon-reload unit:twofold-replica.service",
    "~replica/remount unit:twofold-replica.service",
    "remove-file file:/etc/twofold/replica_ssh_config",
    "remove-file file:/etc/twofold/replica_known_hosts",
  ]);
  const back = planOf(readyNfsSource(), SOURCE);
  t.deepEqual(back.slice(-2), [
    "~daemon-reload unit:twofold-replica.service",
    "~replica/remount unit:twofold-replica.service",
  ]);
  // The unit's file is right, what it has mounted is not.
  const other = { ...readyNfsSource(), mount: readySource().mount };
  t.deepEqual(planOf(other, NFS_SOURCE), ["replica/remount unit:twofold-replica.service"]);
});

test("a replica that comes to the node's own host takes the other one's mount away", (t) => {
  const local: ReplicaDocument = { ...SOURCE, via: "local", directory: "/mnt/second/alice" };
  t.deepEqual(planOf(readySource(), local), [
    "replica/unmount unit:twofold-replica.service",
    "remove-file file:/etc/twofold/replica_ssh_config",
    "remove-file file:/etc/twofold/replica_known_hosts",
    `remove-file file:${UNIT_FILE}`,
    "~daemon-reload unit:twofold-replica.service",
    "make-directory directory:/mnt/second/alice",
  ]);
  t.deepEqual(planOf(written(readySource(), local), local), []);
});

/** As fs/nfs/super.c and net/sunrpc/xprtsock.c print it; shortened. */
const mountstats = (connects: number[], type = "nfs4") => `device proc mounted on /proc with fstype proc
device 10.0.0.9:/other mounted on /mnt/other with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.2
\txprt:\ttcp 700 0 99 0 5 120 120 0 120 0 2 0 0
device 10.0.0.20:/srv/vault/alice/wallet mounted on ${DIRECTORY} with fstype ${type} statvers=1.1
\topts:\trw,vers=4.2,soft
\tage:\t60
${connects.map((count) => `\txprt:\ttcp 832 7 ${count} 0 0 40 40 0 40 0 2 0 0\n`).join("")}\tper-op statistics
\t        NULL: 1 1 0 44 24 0 0 0 0
device tmpfs mounted on /run with fstype tmpfs
`;

test("the connections of a mount over NFS are counted, and no other mount's", (t) => {
  t.is(connectionsOf(mountstats([1]), DIRECTORY), 1);
  t.is(connectionsOf(mountstats([3, 4]), DIRECTORY), 7);
  t.is(connectionsOf(mountstats([1]), "/mnt/other"), 99);
  for (const directory of ["/var/lib/twofold-replica", "/run"])
    t.is(connectionsOf(mountstats([1]), directory), undefined);
  t.is(connectionsOf(mountstats([], "fuse.sshfs"), DIRECTORY), undefined);
  // Something else was mounted over it.
  t.is(connectionsOf(`${mountstats([1])}device x mounted on ${DIRECTORY} with fstype tmpfs\n`, DIRECTORY), undefined);
});

test("a mount over NFS is lost when it is away, and when it has connected again", (t) => {
  t.is(lossOf(1, 1), undefined);
  t.regex(lossOf(1, 2) ?? "", /made anew/);
  for (const [first, now] of [
    [1, undefined],
    [undefined, 1],
    [undefined, undefined],
  ])
    t.regex(lossOf(first, now) ?? "", /nothing is mounted/);
});

test("the node's host gets a key, a mount point that nobody can write to, and the mount", (t) => {
  t.deepEqual(planOf(newSource(), SOURCE), [
    "make-directory directory:/etc/twofold",
    "make-directory directory:/etc/twofold/keys",
    "replica/make-key key:/etc/twofold/keys/replica",
    "make-directory directory:/var/lib/twofold-replica",
    `make-directory directory:${DIRECTORY}`,
    "write-file file:/etc/twofold/replica_ssh_config",
    "write-file file:/etc/twofold/replica_known_hosts",
    "write-file file:/etc/systemd/system/twofold-replica.service",
    "~daemon-reload unit:twofold-replica.service",
    "enable-unit unit:twofold-replica.service",
    "replica/mount unit:twofold-replica.service",
  ]);
  t.like(written(newSource(), SOURCE).entries.get(DIRECTORY), { owner: "root", mode: "0555" });
});

test("a mount that is away is mounted, also if the unit thinks that it runs", (t) => {
  const facts = readySource();
  t.deepEqual(planOf({ ...facts, mount: undefined }, SOURCE), ["replica/mount unit:twofold-replica.service"]);
  t.deepEqual(planOf({ ...facts, unit: { ...facts.unit, active: "failed" } as SourceFacts["unit"] }, SOURCE), [
    "replica/mount unit:twofold-replica.service",
  ]);
});

test("another address of the replica's host is mounted anew as a consequence, tied to the start that it replaces", (t) => {
  const moved = { ...SOURCE, remote: { ...REMOTE, address: "192.0.2.21" } };
  t.deepEqual(planOf(readySource(), moved), [
    "write-file file:/etc/twofold/replica_ssh_config",
    "~daemon-reload unit:twofold-replica.service",
    "~replica/remount unit:twofold-replica.service",
  ]);
  t.like(planReplica(readySource(), moved).at(-1), { startedAt: 1_000_000 });
});

test("the mount never connects again by itself, pins the host key and gives a dead host 15 seconds", (t) => {
  const config = renderReplicaSshConfig("alice", REMOTE);
  const value = (key: string) => new RegExp(`^\\s*${key} (.*)$`, "m").exec(config)?.[1];
  t.is(value("StrictHostKeyChecking"), "yes");
  t.is(value("HostKeyAlgorithms"), "ssh-ed25519");
  t.is(Number(value("ServerAliveInterval")) * Number(value("ServerAliveCountMax")), 15);
  const unit = written(newSource(), SOURCE).entries.get("/etc/systemd/system/twofold-replica.service")?.content ?? "";
  const command = unit.split("\n").find((line) => line.startsWith("ExecStart=")) ?? "";
  t.regex(command, /uid=995,gid=994/);
  t.notRegex(command, /reconnect|direct_io|kernel_cache/);
  t.regex(command, / replica:\/wallet \/var\/lib\/twofold-replica\/alice$/);
});

test("an RSA host key is used with SHA-2", (t) => {
  const config = renderReplicaSshConfig("alice", { ...REMOTE, hostKey: "ssh-rsa AAAArsa" });
  t.regex(config, /HostKeyAlgorithms rsa-sha2-512,rsa-sha2-256$/m);
});

test("a replica on the node's own host is a directory of the node's account", (t) => {
  const local: ReplicaDocument = { ...SOURCE, via: "local", directory: "/mnt/second/alice" };
  t.deepEqual(planOf(newSource(), local), ["make-directory directory:/mnt/second/alice"]);
  t.deepEqual(replicaItems(local), ["directory:/mnt/second/alice"]);
});

test("only a lightningd that writes to this very replica is in the way of its mount", (t) => {
  const environment = `PATH=/usr/bin\0TWOFOLD_REPLICA=${DIRECTORY}/lightningd.sqlite3\0`;
  const commandLine = "/opt/x/lightningd\0--conf=/etc/lightningd/lightningd.conf\0";
  t.true(writesReplica(DIRECTORY, environment, commandLine));
  t.false(writesReplica("/var/lib/twofold-replica/bob", environment, commandLine));
  t.false(writesReplica(DIRECTORY, "PATH=/usr/bin\0TWOFOLD_REPLICA=\0", commandLine));
  t.false(writesReplica(DIRECTORY, environment, "/bin/sh\0/usr/local/lib/twofold/start-lightningd\0"));
  t.false(writesReplica(DIRECTORY, environment, "lightningd\0--conf=/etc/lightningd/lightningd.degraded.conf\0"));
});

test("every item that a plan touches is among the stage's items", (t) => {
  for (const [facts, document] of [
    [newTarget(), TARGET],
    [newSource(), SOURCE],
    [{ ...newTarget(), account: readyTarget().account }, NFS_TARGET],
    [newSource(), NFS_SOURCE],
  ] as const) {
    const items = new Set<string>(replicaItems(document));
    for (const { item } of planReplica(facts, document)) t.true(items.has(item), item);
  }
});

test("a path is walked from the root down", (t) => {
  t.deepEqual(pathAndParents("/srv/vault"), ["/", "/srv", "/srv/vault"]);
  t.deepEqual(pathAndParents("/"), ["/"]);
});
