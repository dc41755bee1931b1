import test from "ava";
import type { ReplicaDocument } from "../../scripts/host/contract.ts";
import type { Entry } from "../../scripts/host/read.ts";
import { pathAndParents, type SourceFacts, type TargetFacts } from "../../scripts/host/replica/facts.ts";
import { writesReplica } from "../../scripts/host/replica/mount.ts";
import { planReplica, replicaItems } from "../../scripts/host/replica/plan.ts";
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

const directory = (mode = "0755", owner = "root"): Entry => ({ kind: "directory", owner, group: owner, mode });
const newTarget = (): TargetFacts => ({
  role: "target",
  account: undefined,
  entries: new Map(),
  ancestors: ["/", "/srv", "/srv/vault"].map((path) => ({ path, entry: directory() })),
  ownVolume: true,
  key: undefined,
  sshdConfig: "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n",
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
    if (action.kind === "replica/make-key")
      entries.set(action.path, { kind: "file", content: "", owner: "root", group: "root", mode: "0400" });
  }
  return { ...facts, entries };
}

const readyTarget = (): TargetFacts => ({
  ...written(newTarget(), TARGET),
  account: { uid: 990, gid: 990, home: CHROOT, shell: "/usr/sbin/nologin" },
});
const readySource = (): SourceFacts => ({
  ...written(newSource(), SOURCE),
  mount: { target: DIRECTORY, type: "fuse.sshfs", source: "replica:/wallet", options: [] },
  unit: {
    load: "loaded",
    active: "active",
    sub: "running",
    enabled: "enabled",
    needsReload: false,
    mainPid: 314,
    startedAt: 1_000_000,
  },
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

test("refuses NFS, which was never run", (t) => {
  for (const [facts, document] of [
    [newTarget(), TARGET],
    [newSource(), SOURCE],
  ] as const)
    t.is(codeOf(facts, { ...document, via: "nfs" }), "replica-nfs");
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
  ] as const) {
    const items = new Set<string>(replicaItems(document));
    for (const { item } of planReplica(facts, document)) t.true(items.has(item), item);
  }
});

test("a path is walked from the root down", (t) => {
  t.deepEqual(pathAndParents("/srv/vault"), ["/", "/srv", "/srv/vault"]);
  t.deepEqual(pathAndParents("/"), ["/"]);
});
