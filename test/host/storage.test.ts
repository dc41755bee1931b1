import { randomUUID } from "node:crypto";
import test from "ava";
import type { BaseDocument, StorageDocument, VolumeDocument } from "../../scripts/host/contract.ts";
import { TestHost } from "../helpers/host.ts";
import { eventually } from "../helpers/lab.ts";

const UUID = randomUUID();
let host: TestHost;

const base: BaseDocument = {
  stage: "base",
  host: "alice",
  packages: ["btrfs-progs", "e2fsprogs"],
  user: { name: "bitcoin", home: "/var/lib/bitcoin" },
};

function storage(change: Partial<VolumeDocument> = {}): StorageDocument {
  const volume: VolumeDocument = {
    name: "lightning",
    uuid: UUID,
    label: "alice-lightning",
    profile: "raid1",
    devices: host.disks.slice(0, 2),
    mount: "/srv/lightning",
    options: "defaults,autodefrag,nofail,x-systemd.device-timeout=30s",
    minimumDeviceBytes: 2 ** 29,
    directories: [{ path: "/srv/lightning/lightning", owner: "bitcoin", group: "bitcoin", mode: "0700" }],
    ...change,
  };
  return { stage: "storage", host: "alice", volumes: [volume] };
}

/** The disks as they came, and the host as if it had never had a volume. */
async function reset(): Promise<void> {
  await host.exec(["umount", "/srv/lightning"]);
  await host.must("wipefs", "--all", "--quiet", ...host.disks);
  await host.must("sed", "-i", "/srv.lightning/d", "/etc/fstab");
  await host.must("rm", "-rf", "/srv/lightning", "/var/lib/twofold/documents/storage.json", "/home/op");
  await host.must("systemctl", "daemon-reload");
}

async function refused(document: StorageDocument): Promise<string> {
  const { status, stdout, stderr } = await host.program(["apply", "storage", "machine"], document);
  return status === 3 ? stderr : `status ${status}: ${stdout}${stderr}`;
}

test.before(async () => {
  host = await TestHost.start({ disks: 3 });
  await host.apply(base);
});
test.after.always(async () => host?.stop());
test.serial.beforeEach(reset);

test.serial(
  "blank disks become a mounted RAID-1 with the declared UUID, and a second apply changes nothing at all",
  async (t) => {
    t.true((await host.apply(storage())).includes("volume:lightning"));
    t.is(await host.must("findmnt", "-no", "UUID", "/srv/lightning"), UUID);
    t.regex(await host.must("btrfs", "filesystem", "usage", "/srv/lightning"), /Data,RAID1[\s\S]*Metadata,RAID1/);
    t.is(await host.must("stat", "-c", "%U:%G %a", "/srv/lightning/lightning"), "bitcoin:bitcoin 700");

    const before = await host.fingerprint("/srv/lightning");
    t.deepEqual(await host.apply(storage()), []);
    t.deepEqual(await host.changesSince(before, "/srv/lightning"), []);
  },
);

test.serial("a volume rebuilt on other disks is mounted, though the kernel remembers the old ones", async (t) => {
  await host.apply(storage({ profile: "single", devices: host.disks.slice(2) }));
  await reset();
  t.true((await host.apply(storage())).includes("volume:lightning"));
  t.is(await host.must("findmnt", "-no", "UUID", "/srv/lightning"), UUID);
  const devices = await host.must("btrfs", "filesystem", "show", "/srv/lightning");
  t.regex(devices, /Total devices 2/);
});

test.serial("each managed item that is tampered with is named by check alone, and put back by repair", async (t) => {
  await host.apply(storage());
  const tampering: Record<string, string> = {
    "directory:/srv/lightning/lightning": "chmod 0755 /srv/lightning/lightning",
    "fstab:/srv/lightning": "sed -i 's/autodefrag/autodefrag,degraded/' /etc/fstab",
    "mount:/srv/lightning": "umount /srv/lightning",
  };
  for (const [item, command] of Object.entries(tampering)) {
    await host.must("sh", "-c", command);
    t.deepEqual(await host.drift(storage()), [item]);
    const repaired = await host.program(["repair"], [storage()]);
    t.regex(repaired.stdout, new RegExp(`"changed":\\["${item}"\\]`));
    t.deepEqual(await host.drift(storage()), []);
  }
});

test.serial(
  "the mount point can't be written to by the node's account while nothing is mounted, and is drift if it can",
  async (t) => {
    await host.apply(storage());
    await host.must("umount", "/srv/lightning");
    t.not((await host.exec(["runuser", "-u", "bitcoin", "--", "touch", "/srv/lightning/file"])).status, 0);
    await host.must("chmod", "0777", "/srv/lightning");
    t.deepEqual(await host.drift(storage()), ["directory:/srv/lightning", "mount:/srv/lightning"]);
  },
);

test.serial(
  "a rebuilt host takes disks that hold the volume as they are, with all files for the new account's number",
  async (t) => {
    await host.apply(storage());
    await host.must(
      "sh",
      "-c",
      "echo wallet > /srv/lightning/lightning/db && chown -R 4321:4321 /srv/lightning/lightning",
    );
    await host.must("umount", "/srv/lightning");
    await host.must("sed", "-i", "/srv.lightning/d", "/etc/fstab");
    await host.must("rm", "-rf", "/srv/lightning", "/var/lib/twofold/documents");

    const changed = await host.apply(storage());
    t.false(changed.includes("volume:lightning"));
    t.is(await host.must("runuser", "-u", "bitcoin", "--", "cat", "/srv/lightning/lightning/db"), "wallet");
  },
);

test.serial("a profile with one more copy gets its device and is converted, and goes back again", async (t) => {
  await host.apply(storage());
  await host.must("sh", "-c", "echo kept > /srv/lightning/lightning/file && sync");
  await host.apply(storage({ profile: "raid1c3", devices: host.disks }));
  t.regex(await host.must("btrfs", "filesystem", "usage", "/srv/lightning"), /Data,RAID1C3[\s\S]*Metadata,RAID1C3/);

  await host.apply(storage());
  const usage = await host.must("btrfs", "filesystem", "usage", "/srv/lightning");
  t.notRegex(usage, /RAID1C3/);
  t.is(await host.must("wipefs", "--no-act", host.disks[2] ?? ""), "");
  t.is(await host.must("cat", "/srv/lightning/lightning/file"), "kept");
});

test.serial("refuses what must not be formatted, and changes nothing", async (t) => {
  const [first = "", second = "", third = ""] = host.disks;
  await host.must("mkfs.ext4", "-q", "-L", "photos", third);
  await host.must("ln", "-sf", await host.must("readlink", "-f", first), "/dev/other-name");
  const before = await host.fingerprint("/srv");
  const cases: [Partial<VolumeDocument>, RegExp][] = [
    [{ devices: [first, third] }, /STORAGE-DEVICE-IN-USE: .*test-2 is not empty[\s\S]*ext4 labelled 'photos'/],
    [{ devices: [first, "/dev/other-name"] }, /STORAGE-SAME-DISK/],
    [{ devices: [first, "/dev/disk/by-id/none"] }, /STORAGE-DEVICE-ABSENT: .*by-id\/none/],
    [{ minimumDeviceBytes: 2 ** 40 }, /STORAGE-DEVICE-TOO-SMALL: .*[\s\S]*1073741824 bytes/],
    [{ options: "defaults,degraded" }, /STORAGE-MOUNT-OPTION: .*'degraded'/],
    [{ profile: "raid10" }, /STORAGE-TOO-FEW-DEVICES/],
  ];
  for (const [change, message] of cases) t.regex(await refused(storage(change)), message);
  t.deepEqual(await host.changesSince(before, "/srv"), []);
  for (const disk of [first, second]) t.is(await host.must("wipefs", "--no-act", disk), "");
});

test.serial("refuses a disk with a partition table", async (t) => {
  const second = host.disks[1] ?? "";
  // A master boot record with one Linux partition from sector 2048 on; the image has no sfdisk.
  const record = "bytes(446)+bytes([0,0,0,0,0x83,0,0,0])+(2048).to_bytes(4,'little')*2+bytes(48)+bytes([0x55,0xaa])";
  await host.must("python3", "-c", `open(${JSON.stringify(second)},"r+b").write(${record})`);
  const before = await host.fingerprint("/srv");
  const written = await host.must("sha256sum", ...host.disks.slice(0, 2));
  t.regex(await refused(storage()), /STORAGE-DEVICE-IN-USE[\s\S]*holds dos/);
  t.deepEqual(await host.changesSince(before, "/srv"), []);
  t.is(await host.must("sha256sum", ...host.disks.slice(0, 2)), written);
});

test.serial("refuses to mount or format when a disk of the volume is gone", async (t) => {
  await host.apply(storage());
  await host.must("umount", "/srv/lightning");
  await host.must("wipefs", "--all", "--quiet", host.disks[1] ?? "");
  t.regex(await refused(storage()), /STORAGE-DEVICE-MISSING[\s\S]*missing: devid 2/);
  t.is(await host.must("wipefs", "--no-act", "--noheadings", "--output", "TYPE", host.disks[0] ?? ""), "btrfs");
});

test.serial("refuses an unmounted mount point that holds files", async (t) => {
  await host.must("mkdir", "-p", "/srv/lightning/lightning");
  t.regex(await refused(storage()), /STORAGE-MOUNT-POINT-IN-USE/);
});

test.serial("a mkfs that was killed between two disks is done again only if no kernel ever mounted it", async (t) => {
  const [first = "", second = ""] = host.disks;
  const making = `/var/lib/twofold/making-${UUID}.json`;
  const halfMade = async () => {
    await host.must("mkfs.btrfs", "-q", "-U", UUID, "-d", "raid1", "-m", "raid1", first, second);
    await host.must("wipefs", "--all", "--quiet", second);
  };
  await halfMade();
  t.regex(await refused(storage()), /STORAGE-DEVICE-MISSING/, "not known as ours");

  await host.must("touch", making);
  t.true((await host.apply(storage())).includes("volume:lightning"));

  await host.must("umount", "/srv/lightning");
  await host.must("wipefs", "--all", "--quiet", second);
  await host.must("touch", making);
  t.regex(await refused(storage()), /STORAGE-DEVICE-MISSING/, "it was mounted");
  await host.must("rm", making);
});

/**
 * Applies a document, kills the run's whole unit at once when `condition` (of sh) holds, and returns what had been done by then:
 * the names of those of `done` (conditions too) that hold.
 */
async function killedApply(
  document: StorageDocument,
  condition: string,
  done: Record<string, string>,
): Promise<string> {
  const killer = `
    until set -- /sys/fs/cgroup/system.slice/twofold-*storage*.service && [ -e "$1" ]; do :; done
    until ${condition}; do [ -e "$1" ] || exit 0; done
    echo 1 > "$1/cgroup.kill" || [ ! -e "$1" ]`;
  const [killed] = await Promise.all([
    host.exec(["timeout", "60", "sh", "-c", killer]),
    host.program(["apply", document.stage, "machine"], document),
  ]);
  if (killed.status !== 0) throw new Error(`the killer ended with ${killed.status}: ${killed.stderr}`);
  const tell = Object.entries(done).map(([name, holds]) => `if ${holds}; then echo "${name}"; fi`);
  return (await host.must("sh", "-c", tell.join("\n"))).replaceAll("\n", ", ") || "nothing";
}

/** How often each outcome was met, most often first. */
const counted = (outcomes: string[]) =>
  [...new Set(outcomes)]
    .map((outcome) => ({ outcome, times: outcomes.filter((each) => each === outcome).length }))
    .sort((a, b) => b.times - a.times);

const after = (milliseconds: number) => `{ sleep ${milliseconds / 1000}; true; }`;

test.serial("an apply that is killed at any point is finished by the next", async (t) => {
  const isBtrfs = (disk = "") => `[ "$(dd if=${disk} bs=8 skip=8200 count=1 status=none)" = _BHRfS_M ]`;
  const making = `[ -e /var/lib/twofold/making-${UUID}.json ]`;
  const inFstab = `grep -q ${UUID} /etc/fstab`;
  const mounted = "grep -q ' /srv/lightning btrfs ' /proc/mounts";
  const done = {
    "mkfs begun": making,
    "first disk": isBtrfs(host.disks[0]),
    "second disk": isBtrfs(host.disks[1]),
    fstab: inFstab,
    mounted,
    directory: "[ -d /srv/lightning/lightning ]",
  };
  const aims = [making, isBtrfs(host.disks[0]), inFstab, mounted];
  const random = Array.from({ length: 4 }, () => after(Math.floor(Math.random() * 2000)));
  const met: string[] = [];
  for (const condition of [...aims, ...aims, ...aims, ...random]) {
    await reset();
    met.push(await killedApply(storage(), condition, done));
    await host.apply(storage());
    t.deepEqual(await host.drift(storage()), []);
    t.deepEqual(await host.apply(storage()), []);
  }
  for (const { outcome, times } of counted(met)) t.log(`killed ${times} times with this done: ${outcome}`);
  const times = (which: (outcome: string) => boolean) => met.filter(which).length;
  t.true(times((outcome) => outcome.includes("mkfs begun")) > 0, "some kills came while mkfs was under way");
  t.true(times((outcome) => outcome.endsWith("fstab")) > 0, "some kills came between fstab and the mount");
});

const FROM = "/home/op/.lightning";
const TO = "/srv/lightning/lightning";
const ASIDE = `${FROM}.before-twofold`;
const DATABASE = "bitcoin/lightningd.sqlite3";
const takeOver = () =>
  storage({
    takeOver: {
      from: FROM,
      to: TO,
      holds: ["bitcoin/hsm_secret", DATABASE],
      ...{ owner: "bitcoin", group: "bitcoin", mode: "0700" },
    },
  });

/** SHA-256 of the old node's database. */
async function oldNode(): Promise<string> {
  await host.must("rm", "-rf", "/home/op");
  await host.must("mkdir", "-p", `${FROM}/bitcoin`);
  await host.must("dd", "if=/dev/urandom", `of=${FROM}/${DATABASE}`, "bs=1M", "count=3", "status=none");
  await host.must(
    "sh",
    "-c",
    `echo secret > ${FROM}/bitcoin/hsm_secret && chmod 0400 ${FROM}/bitcoin/hsm_secret && sync`,
  );
  return sumOf(FROM);
}
const sumOf = async (directory: string) =>
  (await host.must("sha256sum", `${directory}/${DATABASE}`)).split(" ")[0] ?? "";

test.serial("an existing lightning directory is taken over with nothing lost, and stays so", async (t) => {
  const sum = await oldNode();
  await host.apply(takeOver());
  t.is(await host.must("readlink", FROM), TO);
  t.is(await sumOf(FROM), sum);
  t.is(await host.must("stat", "-c", "%U %a", TO), "bitcoin 700");
  t.is(await host.must("stat", "-c", "%U %a", `${TO}/bitcoin/hsm_secret`), "bitcoin 400");
  t.is(await host.must("diff", "-r", ASIDE, TO), "");
  t.deepEqual(await host.apply(takeOver()), []);
});

test.serial("a take-over goes on from every state that an interrupted one can leave", async (t) => {
  const sum = await oldNode();
  await host.apply(storage());
  const states = [
    `mkdir -p ${TO}.partial/bitcoin && echo half > ${TO}.partial/bitcoin/hsm_secret`,
    `rm ${FROM} && mv ${ASIDE} ${FROM}`,
    `rm ${FROM}`,
  ];
  for (const state of states) {
    await host.must("sh", "-c", state);
    t.deepEqual(await host.apply(takeOver()), [`symlink:${FROM}`]);
    t.is(await sumOf(FROM), sum);
    t.is((await host.exec(["test", "-e", `${TO}.partial`])).status, 1);
  }
});

test.serial("a take-over that is killed at any point is finished by the next", async (t) => {
  const done = {
    "part of the copy": `[ -e ${TO}.partial ]`,
    copy: `[ -e ${TO}/${DATABASE} ]`,
    aside: `[ -e ${ASIDE} ]`,
    symlink: `[ -L ${FROM} ]`,
  };
  const aims = [done["part of the copy"], done.copy, done.aside, done.symlink];
  const random = Array.from({ length: 3 }, () => after(Math.floor(Math.random() * 2000)));
  const met: string[] = [];
  for (const condition of [...aims, ...aims, ...aims, ...random]) {
    await reset();
    await host.apply(storage());
    const sum = await oldNode();
    met.push(await killedApply(takeOver(), condition, done));
    await host.apply(takeOver());
    t.is(await host.must("readlink", FROM), TO);
    t.is(await sumOf(FROM), sum);
    t.is(await host.must("diff", "-r", ASIDE, TO), "");
    t.is((await host.exec(["test", "-e", `${TO}.partial`])).status, 1);
    t.deepEqual(await host.drift(takeOver()), []);
  }
  for (const { outcome, times } of counted(met)) t.log(`killed ${times} times with this done: ${outcome}`);
  t.true(met.includes("part of the copy"), "some kills came during the copy");
  t.true(met.includes("copy, aside"), "some kills came between the move and the symlink");
});

test.serial(
  "fails when the old directory is written to after it was compared, and puts it back in its place",
  async (t) => {
    await oldNode();
    const commits = `#!/bin/sh
/usr/bin/diff "$@" && echo commit >> ${FROM}/${DATABASE}
`;
    t.is((await host.exec(["install", "-m", "0755", "/dev/stdin", "/usr/local/bin/diff"], commits)).status, 0);
    const { status, stderr } = await host.program(["apply", "storage", "machine"], takeOver());
    await host.must("rm", "/usr/local/bin/diff");
    t.is(status, 1);
    t.regex(stderr, /was used since it was copied to .*: bitcoin\/lightningd\.sqlite3 changed/);
    t.is(await host.must("stat", "-c", "%F", FROM), "directory");
    t.is(await host.must("tail", "-c", "7", `${FROM}/${DATABASE}`), "commit");

    t.regex(await refused(takeOver()), /STORAGE-TAKE-OVER-CONFLICT/);
    await host.must("mv", TO, "/srv/lightning/older");
    const sum = await sumOf(FROM);
    await host.apply(takeOver());
    t.is(await sumOf(TO), sum);
  },
);

test.serial("refuses a directory that is not the lightning directory of this node, and changes nothing", async (t) => {
  await host.must("mkdir", "-p", `${FROM}/bitcoin`, `${FROM}/Documents`);
  await host.must("ln", "-s", "/mnt/elsewhere", `${FROM}/${DATABASE}`);
  const before = await host.fingerprint("/srv", "/home/op");
  t.regex(
    await refused(takeOver()),
    /STORAGE-TAKE-OVER-NO-NODE[\s\S]*hsm_secret \(nothing there\) and bitcoin\/lightningd\.sqlite3 \(a symlink\)/,
  );
  t.deepEqual(await host.changesSince(before, "/srv", "/home/op"), []);
});

test.serial("refuses a take-over while a container has the wallet open under a name of its own", async (t) => {
  await oldNode();
  const inContainer = `
    mount --bind ${FROM} /mnt
    exec 3< /mnt/${DATABASE}
    cd /
    echo $$ > /tmp/user
    exec sleep 600`;
  await host.must("rm", "-f", "/tmp/user");
  const user = host.exec(["unshare", "--mount", "--propagation=private", "sh", "-euc", inContainer]);
  await eventually("the container runs", 30, () => host.must("test", "-s", "/tmp/user").then(() => true));
  const before = await host.fingerprint("/srv", "/home/op");
  t.regex(await refused(takeOver()), /STORAGE-TAKE-OVER-IN-USE[\s\S]*sleep \(\d+\)/);
  t.deepEqual(await host.changesSince(before, "/srv", "/home/op"), []);
  await host.must("sh", "-c", "kill $(cat /tmp/user)");
  await user;
});

test.serial(
  "a node that was taken over gets its directory on new disks, and refuses a rebuilt host without a home",
  async (t) => {
    await oldNode();
    await host.apply(takeOver());
    await host.must("umount", "/srv/lightning");
    await host.must("wipefs", "--all", "--quiet", ...host.disks);
    await host.apply(takeOver());
    t.is(await host.must("stat", "-c", "%U %a", TO), "bitcoin 700");

    await host.must("touch", `${TO}/restored`);
    await host.must("rm", "-rf", "/home/op");
    t.regex(await refused(takeOver()), /STORAGE-TAKE-OVER-PARENT[\s\S]*there is no \/home\/op\n/);
  },
);

test.serial("refuses a take-over while a process uses the directory, and when both places have content", async (t) => {
  await oldNode();
  await host.must("rm", "-f", "/tmp/user");
  const user = host.exec(["sh", "-c", `cd ${FROM} && echo $$ > /tmp/user && exec sleep 600`]);
  await eventually("the process runs", 30, () => host.must("test", "-s", "/tmp/user").then(() => true));
  t.regex(await refused(takeOver()), /STORAGE-TAKE-OVER-IN-USE[\s\S]*sleep \(\d+\)/);
  await host.must("sh", "-c", "kill $(cat /tmp/user)");
  await user;

  await host.apply(storage());
  await host.must("sh", "-c", "echo newer > /srv/lightning/lightning/db");
  const before = await host.fingerprint("/srv/lightning", "/home/op");
  t.regex(await refused(takeOver()), /STORAGE-TAKE-OVER-CONFLICT/);
  t.deepEqual(await host.changesSince(before, "/srv/lightning", "/home/op"), []);
});

// Last: services that start at boot keep the mount in namespaces of their own, so the disks stay busy after it.
test.serial("what was mounted is mounted again after a reboot", async (t) => {
  await host.apply(storage());
  await host.must("sh", "-c", "echo kept > /srv/lightning/lightning/file && sync");
  await host.reboot();
  t.is(await host.must("cat", "/srv/lightning/lightning/file"), "kept");
  t.deepEqual(await host.drift(storage()), []);
});
