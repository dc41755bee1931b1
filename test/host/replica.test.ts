/** The replica stage on two real hosts: the account that can do nothing else, and the mount that never comes back unseen. */
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import test from "ava";
import type { BaseDocument, ReplicaDocument, StorageDocument } from "../../scripts/host/contract.ts";
import { type Ended, TestHost } from "../helpers/host.ts";
import { pauseContainer, resumeContainer } from "../helpers/pause.ts";

const ACCOUNT = "twofold-replica-alice";
const CHROOT = "/srv/vault/alice";
const DIRECTORY = "/var/lib/twofold-replica/alice";
const SSH = ["ssh", "-F", "/etc/twofold/replica_ssh_config"];

let alice: TestHost;
let vault: TestHost;

const base = (host: string, ...packages: string[]): BaseDocument => ({
  stage: "base",
  host,
  packages: ["btrfs-progs", ...packages],
  user: { name: "bitcoin", home: "/var/lib/bitcoin" },
});
const volume = (): StorageDocument => ({
  stage: "storage",
  host: "vault",
  volumes: [
    {
      name: "replica",
      uuid: randomUUID(),
      label: "alice-replica",
      profile: "single",
      devices: vault.disks.slice(0, 1),
      mount: "/srv/vault",
      options: "defaults,nofail",
      minimumDeviceBytes: 2 ** 29,
      directories: [],
    },
  ],
});
const target = (chroot = CHROOT): ReplicaDocument => ({
  stage: "replica",
  host: "vault",
  node: "alice",
  role: "target",
  via: "sshfs",
  directory: `${chroot}/wallet`,
  account: { name: ACCOUNT, chroot },
  user: ACCOUNT,
  group: ACCOUNT,
});
const addressOf = (host: TestHost) =>
  execFileSync("docker", ["inspect", "--format", "{{.NetworkSettings.IPAddress}}", host.container], {
    encoding: "utf8",
  }).trim();
const source = async (): Promise<ReplicaDocument> => ({
  stage: "replica",
  host: "alice",
  node: "alice",
  role: "source",
  via: "sshfs",
  directory: DIRECTORY,
  remote: {
    host: "vault",
    address: addressOf(vault),
    port: 22,
    user: ACCOUNT,
    hostKey: (await hostKey()).split(" ").slice(0, 2).join(" "),
    identityFile: "/etc/twofold/keys/replica",
    path: "/wallet",
  },
  user: "bitcoin",
  group: "bitcoin",
});

/** The key with which the host's sshd answers. */
async function hostKey(): Promise<string> {
  const { stdout } = await vault.exec(["ssh-keyscan", "-t", "ed25519", "127.0.0.1"]);
  const line = stdout.split("\n").find((each) => each.includes("ssh-ed25519")) ?? "";
  return line.slice(line.indexOf("ssh-ed25519"));
}

async function eventually(what: string, seconds: number, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${seconds} s`);
    await delay(200);
  }
}

const asBitcoin = (command: string): Promise<Ended> =>
  alice.exec(["setpriv", "--reuid=bitcoin", "--regid=bitcoin", "--init-groups", "--", "sh", "-euc", command]);
const hasMount = async () =>
  (await alice.exec(["findmnt", "--noheadings", "--types", "fuse.sshfs", DIRECTORY])).status === 0;
/** sshfs mounts first and connects then; its unit is active once both are done. */
const mounted = async () =>
  (await hasMount()) &&
  (await alice.exec(["systemctl", "is-active", "--quiet", "twofold-replica.service"])).status === 0;
/** What lies under whatever is mounted there. */
const belowTheMount = () =>
  alice.must("unshare", "--mount", "sh", "-euc", `umount --lazy --quiet ${DIRECTORY} || :; ls -A ${DIRECTORY}`);
const refusal = async (host: TestHost, document: ReplicaDocument) => {
  const { status, stdout, stderr } = await host.program(["apply", "replica", "machine"], document);
  return status === 3 ? stderr : `status ${status}: ${stdout}${stderr}`;
};

test.before(async () => {
  [alice, vault] = await Promise.all([TestHost.start({ disks: 0 }), TestHost.start({ disks: 1 })]);
  await Promise.all([
    alice.apply(base("alice", "openssh-client", "sshfs", "sqlite3")),
    vault.apply(base("vault", "strace", "openssh-client")),
  ]);
});
test.after.always(async () => {
  await Promise.all([alice?.stop(), vault?.stop()]);
});

test.serial("refuses a replica on its host's root filesystem, and makes nothing", async (t) => {
  const before = await vault.fingerprint();
  t.regex(await refusal(vault, target()), /replica-volume/);
  t.is(await vault.fingerprint(), before);
});

// A machine whose kernel knows NFS would go on and install the packages.
const withoutNfs = /\bnfs[4d]$/m.test(readFileSync("/proc/filesystems", "utf8")) ? test.serial.skip : test.serial;

withoutNfs("refuses NFS on either host, since this kernel has none, and changes nothing", async (t) => {
  for (const [host, name, packages] of [
    [alice, "alice", "nfs-common"],
    [vault, "vault", "nfs-kernel-server"],
  ] as const) {
    const before = await host.fingerprint();
    const { status, stderr } = await host.program(["apply", "base", "machine"], base(name, packages));
    t.is(status, 3);
    t.regex(stderr, /HOST-NFS[\s\S]*received: kernel \d[\s\S]*via: sshfs/);
    t.deepEqual(await host.changesSince(before), []);
  }
});

test.serial("refuses a chroot under a directory that others can write", async (t) => {
  await vault.apply(volume());
  await vault.must("install", "--directory", "--mode=0777", "/srv/vault/open");
  t.regex(await refusal(vault, target("/srv/vault/open/alice")), /replica-chroot[\s\S]*\/srv\/vault\/open[\s\S]*0777/);
});

test.serial("refuses a host whose sshd serves no SFTP, and makes nothing", async (t) => {
  await vault.must("sed", "--in-place=.kept", "s/^Subsystem/#&/", "/etc/ssh/sshd_config");
  const before = await vault.fingerprint("/srv/vault");
  t.regex(await refusal(vault, target()), /replica-sftp/);
  t.is(await vault.fingerprint("/srv/vault"), before);
  await vault.must("mv", "/etc/ssh/sshd_config.kept", "/etc/ssh/sshd_config");
});

test.serial("the replica's host is set up, and a second apply changes nothing", async (t) => {
  await vault.apply(target());
  const before = await vault.fingerprint("/srv/vault");
  t.deepEqual(await vault.apply(target()), []);
  t.is(await vault.fingerprint("/srv/vault"), before);
});

test.serial("fails with ssh's own words while the replica's host doesn't know the key", async (t) => {
  const { status, stderr } = await alice.program(["apply", "replica", "machine"], await source());
  t.is(status, 1);
  t.regex(stderr, /was not mounted[\s\S]*Permission denied[\s\S]*replica-authorize/);
  // sshfs mounts before it logs in, and takes the mount away when it is not let in; the unit tries again.
  await eventually("a mount that was not let in is gone", 20, async () => !(await mounted()));
});

test.serial("the mount comes up once the key is authorized, and belongs to lightningd's account alone", async (t) => {
  const key = await alice.program(["replica-key", "alice"]);
  t.regex(key.stdout, /^ssh-ed25519 \S+\n$/);
  t.is((await vault.program(["replica-authorize", ACCOUNT, "alice"], key.stdout)).status, 0);
  await alice.apply(await source());
  t.true(await mounted());
  t.is((await asBitcoin(`echo hello > ${DIRECTORY}/file`)).status, 0);
  t.is(await vault.must("stat", "--format=%U", `${CHROOT}/wallet/file`), ACCOUNT);
  t.not((await alice.exec(["setpriv", "--reuid=nobody", "--clear-groups", "--", "ls", DIRECTORY])).status, 0);
  t.deepEqual(await alice.apply(await source()), []);
});

test.serial(
  "fails to give the account anything but its own directory: no command, no terminal, no forwarding, no other file",
  async (t) => {
    t.regex((await alice.exec([...SSH, "replica", "id"])).stdout, /sftp connections only/);
    const forwarding = await alice.exec([...SSH, "-o", "ExitOnForwardFailure=yes", "-W", "127.0.0.1:22", "replica"]);
    t.not(forwarding.status, 0);
    t.regex(forwarding.stderr, /prohibited/);
    const sftp = (batch: string) =>
      alice.exec(["sftp", "-q", "-b", "-", "-F", "/etc/twofold/replica_ssh_config", "replica"], batch);
    t.regex((await sftp("get /etc/passwd /tmp/x\n")).stderr, /not found/);
    t.regex((await sftp("put /etc/hostname /x\n")).stderr, /Permission denied/);
    t.is((await sftp("ls /wallet\n")).status, 0);
  },
);

test.serial("fails to mount a host that shows another key than the pinned one", async (t) => {
  const right = await source();
  const other = `ssh-ed25519 ${Buffer.from(`\0\0\0\x0bssh-ed25519\0\0\0 ${"x".repeat(32)}`, "latin1").toString("base64")}`;
  const wrong = { ...right, remote: { ...right.remote, hostKey: other } } as ReplicaDocument;
  const { status, stderr } = await alice.program(["apply", "replica", "machine"], wrong);
  t.is(status, 1);
  t.regex(stderr, /was not mounted[\s\S]*Host key verification failed/);
  t.false(await mounted());
  // systemd goes on trying; each attempt has a mount until its connection is refused.
  await eventually("no mount is left", 10, async () => !(await hasMount()));
  await alice.apply(right);
  t.true(await mounted());
});

test.serial("each commit is an fsync on the replica's host", async (t) => {
  const database = `${DIRECTORY}/proof.sqlite3`;
  await asBitcoin(`sqlite3 ${database} 'PRAGMA journal_mode=wal; CREATE TABLE t (x); INSERT INTO t VALUES (0);'`);
  // Whichever processes serve the account: one that is just ending can't be the mount's.
  const servers = await vault.must("pgrep", "--full", "internal-sftp");
  const trace = vault.exec(
    ["timeout", "--signal=INT", "60", "strace", "-qq", "-f", "-e", "trace=fsync", "-o", "/tmp/trace"].concat(
      servers.split("\n").flatMap((pid) => ["-p", pid]),
    ),
  );
  let ended: Ended | undefined;
  void trace.then((end) => {
    ended = end;
  });
  const traced = async () => {
    if (ended !== undefined) throw new Error(`strace has ended: ${ended.stdout}${ended.stderr}`);
    const statuses = servers.split("\n").map((pid) => `/proc/${pid}/status`);
    const { stdout } = await vault.exec(["grep", "--no-filename", "TracerPid", ...statuses]);
    return /TracerPid:\s*[1-9]/.test(stdout) && !/TracerPid:\s*0$/m.test(stdout);
  };
  await eventually("strace is attached", 10, traced);
  const commits = Array.from({ length: 20 }, (_, index) => `INSERT INTO t VALUES (${index});`).join(" ");
  t.is((await asBitcoin(`sqlite3 ${database} "${commits}"`)).status, 0);
  await vault.must("pkill", "--signal", "INT", "--exact", "strace");
  await trace;
  const synced = Number(await vault.must("grep", "--count", "fsync(.*= 0", "/tmp/trace"));
  t.true(synced >= 20, `${synced} fsyncs for 20 commits`);
});

test.serial("refuses every mount from an SFTP server that would drop fsync", async (t) => {
  const dropIn = `/etc/ssh/sshd_config.d/${ACCOUNT}.conf`;
  await vault.must("sed", "--in-place", "s/internal-sftp$/& -P fsync/", dropIn);
  await vault.must("systemctl", "reload", "ssh.service");
  await alice.must("systemctl", "stop", "twofold-replica.service");
  const { status, stderr } = await alice.program(["apply", "replica", "machine"], await source());
  t.is(status, 1);
  t.regex(stderr, /was not mounted[\s\S]*does not offer fsync@openssh\.com/);
  t.false(await hasMount());
  await vault.must("sed", "--in-place", "s/ -P fsync$//", dropIn);
  await vault.must("systemctl", "reload", "ssh.service");
  await alice.apply(await source());
  t.true(await mounted());
});

test.serial(
  "a former key's session ends when another key takes its place, and the same key brought again ends none",
  async (t) => {
    const authorize = (key: string) => vault.program(["replica-authorize", ACCOUNT, "alice"], key);
    const session = () => vault.must("pgrep", "--full", "internal-sftp");
    const key = (await alice.program(["replica-key", "alice"])).stdout;
    const before = await session();
    t.is((await authorize(key)).status, 0);
    t.is(await session(), before);
    await alice.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/other");
    const other = await authorize(await alice.must("cat", "/root/other.pub"));
    t.is(other.status, 0, other.stderr);
    t.regex(other.stderr, /the sessions with the former key were ended \(2 processes\)/);
    await eventually("the mount is gone", 30, async () => !(await mounted()));
    t.is((await authorize(key)).status, 0);
    await eventually("the mount is back", 90, mounted);
  },
);

test.serial(
  "a host that is gone is noticed within 30 seconds, the mount goes, nothing can be written in its place, and it comes back",
  async (t) => {
    await pauseContainer(vault.container);
    try {
      await eventually("the mount is gone", 30, async () => !(await hasMount()));
      t.not((await asBitcoin(`echo lost > ${DIRECTORY}/file`)).status, 0);
      t.is(await belowTheMount(), "");
    } finally {
      await resumeContainer(vault.container);
    }
    await eventually("the mount is back", 90, mounted);
    t.is((await asBitcoin(`cat ${DIRECTORY}/file`)).stdout, "hello\n");
  },
);

test.serial("the mount and the account are there again after a reboot of either host", async (t) => {
  await vault.reboot();
  await vault.exec(["mount", "/srv/vault"]);
  await alice.reboot();
  await eventually("the mount is back", 90, mounted);
  t.is((await asBitcoin(`cat ${DIRECTORY}/file`)).stdout, "hello\n");
});

test.serial("what was changed on either host is named by check, and put back", async (t) => {
  const wanted = await source();
  const onVault: Record<string, string[]> = {
    [`file:/etc/ssh/sshd_config.d/${ACCOUNT}.conf`]: ["sh", "-c", `echo >> /etc/ssh/sshd_config.d/${ACCOUNT}.conf`],
    [`directory:${CHROOT}/wallet`]: ["chmod", "0777", `${CHROOT}/wallet`],
    [`user:${ACCOUNT}`]: ["usermod", "--shell", "/bin/bash", ACCOUNT],
    [`file:/etc/twofold/authorized_keys/${ACCOUNT}`]: ["chmod", "0666", `/etc/twofold/authorized_keys/${ACCOUNT}`],
  };
  for (const [item, command] of Object.entries(onVault)) {
    await vault.must(...command);
    t.deepEqual(await vault.drift(target()), [item]);
    t.is((await vault.program(["repair"], [target()])).status, 0);
    t.deepEqual(await vault.drift(target()), [], item);
  }
  const onAlice: Record<string, string[]> = {
    "key:/etc/twofold/keys/replica": ["chmod", "0640", "/etc/twofold/keys/replica"],
    "file:/etc/twofold/replica_known_hosts": ["sh", "-c", "echo >> /etc/twofold/replica_known_hosts"],
    "unit:twofold-replica.service": ["systemctl", "stop", "twofold-replica.service"],
  };
  for (const [item, command] of Object.entries(onAlice)) {
    await alice.must(...command);
    t.deepEqual(await alice.drift(wanted), [item]);
    t.is((await alice.program(["repair"], [wanted])).status, 0);
    t.deepEqual(await alice.drift(wanted), [], item);
    t.true(await mounted());
  }
});

test.serial(
  "a replica that comes to the node's own host takes the mount away, and brings it back when it goes again",
  async (t) => {
    const far = await source();
    const { remote: _, ...rest } = far;
    const near: ReplicaDocument = { ...rest, via: "local", directory: "/srv/second/alice" };
    await alice.must("install", "--directory", "/srv/second");
    const files = ["/etc/systemd/system/twofold-replica.service", "/etc/twofold/replica_ssh_config"];
    t.true((await alice.apply(near)).includes("unit:twofold-replica.service"));
    t.false(await hasMount());
    for (const file of files) t.not((await alice.exec(["stat", file])).status, 0, file);
    t.is((await alice.exec(["systemctl", "is-enabled", "twofold-replica.service"])).stdout.trim(), "not-found");
    t.is((await asBitcoin("echo near > /srv/second/alice/file")).status, 0);
    t.deepEqual(await alice.apply(near), []);
    await alice.apply(far);
    t.true(await mounted());
    t.is((await asBitcoin(`cat ${DIRECTORY}/file`)).stdout, "hello\n");
    t.deepEqual(await alice.drift(far), []);
  },
);
