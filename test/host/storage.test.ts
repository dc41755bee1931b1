import { randomUUID } from "node:crypto";
import test from "ava";
import type { BaseDocument, StorageDocument, VolumeDocument } from "../../scripts/host/contract.ts";
import { TestHost } from "../helpers/host.ts";

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

test.serial("an apply that is killed at random points is finished by the next", async (t) => {
  for (let round = 0; round < 10; round++) {
    await reset();
    const killed = host.program(["apply", "storage", "machine"], storage());
    // The unit appears after Node's start; from then on its whole life is a target.
    const deadline = Date.now() + 10_000;
    let unit = "";
    while (unit === "" && Date.now() < deadline) {
      unit = await host.must("systemctl", "list-units", "--plain", "--no-legend", "--quiet", "twofold-*storage*");
    }
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 500));
    await host.exec(["systemctl", "kill", "--signal=KILL", unit.split(" ")[0] ?? ""]);
    await killed;
    await host.apply(storage());
    t.deepEqual(await host.drift(storage()), []);
    t.deepEqual(await host.apply(storage()), []);
  }
});

const TAKE_OVER = { from: "/home/op/.lightning", to: "/srv/lightning/lightning", owner: "bitcoin", group: "bitcoin" };
const takeOver = () => storage({ directories: [], takeOver: TAKE_OVER });

async function oldNode(): Promise<string> {
  await host.must("mkdir", "-p", `${TAKE_OVER.from}/bitcoin`);
  await host.must(
    "dd",
    "if=/dev/urandom",
    `of=${TAKE_OVER.from}/bitcoin/lightningd.sqlite3`,
    "bs=1M",
    "count=3",
    "status=none",
  );
  await host.must(
    "sh",
    "-c",
    `echo secret > ${TAKE_OVER.from}/bitcoin/hsm_secret && chmod 0400 ${TAKE_OVER.from}/bitcoin/hsm_secret`,
  );
  return host.must("sha256sum", `${TAKE_OVER.from}/bitcoin/lightningd.sqlite3`);
}

test.serial("an existing lightning directory is taken over with nothing lost, and stays so", async (t) => {
  const sum = await oldNode();
  await host.apply(takeOver());
  t.is(await host.must("readlink", TAKE_OVER.from), TAKE_OVER.to);
  t.is(await host.must("sha256sum", `${TAKE_OVER.from}/bitcoin/lightningd.sqlite3`), sum);
  t.is(await host.must("stat", "-c", "%U %a", `${TAKE_OVER.to}/bitcoin/hsm_secret`), "bitcoin 400");
  t.is(await host.must("diff", "-r", `${TAKE_OVER.from}.before-twofold`, TAKE_OVER.to), "");
  t.deepEqual(await host.apply(takeOver()), []);
});

test.serial("a take-over that was interrupted anywhere goes on", async (t) => {
  const sum = await oldNode();
  const database = `${TAKE_OVER.from}/bitcoin/lightningd.sqlite3`;
  await host.apply(storage({ directories: [] }));
  const aside = `${TAKE_OVER.from}.before-twofold`;
  const states = [
    "mkdir -p /srv/lightning/lightning.partial/bitcoin && echo half > /srv/lightning/lightning.partial/bitcoin/hsm_secret",
    `rm ${TAKE_OVER.from} && mv ${aside} ${TAKE_OVER.from}`,
    `rm ${TAKE_OVER.from}`,
  ];
  for (const state of states) {
    await host.must("sh", "-c", state);
    t.deepEqual(await host.apply(takeOver()), [`symlink:${TAKE_OVER.from}`]);
    t.is(await host.must("sha256sum", database), sum);
    t.is((await host.exec(["test", "-e", "/srv/lightning/lightning.partial"])).status, 1);
  }
});

test.serial("refuses a take-over while a process uses the directory, and when both places have content", async (t) => {
  await oldNode();
  const user = host.exec(["sh", "-c", `cd ${TAKE_OVER.from} && echo $$ > /tmp/user && exec sleep 60`]);
  while ((await host.exec(["test", "-s", "/tmp/user"])).status !== 0);
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
