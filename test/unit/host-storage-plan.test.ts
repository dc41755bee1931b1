import test from "ava";
import fc from "fast-check";
import {
  RAID_PROFILES,
  type RaidProfile,
  type StorageDocument,
  type VolumeDocument,
} from "../../scripts/host/contract.ts";
import { Refusal } from "../../scripts/host/stage.ts";
import type { Device } from "../../scripts/host/storage/block.ts";
import type { Filesystem } from "../../scripts/host/storage/btrfs.ts";
import type { VolumeFacts } from "../../scripts/host/storage/facts.ts";
import { fstabLine } from "../../scripts/host/storage/fstab.ts";
import { planStorage, storageItems } from "../../scripts/host/storage/plan.ts";

const UUID = "11111111-2222-3333-4444-555555555555";
const GIB = 2 ** 30;

function volumeOf(change: Partial<VolumeDocument> = {}): VolumeDocument {
  return {
    name: "lightning",
    uuid: UUID,
    label: "alice-lightning",
    profile: "raid1",
    devices: ["/dev/disk/by-id/a", "/dev/disk/by-id/b"],
    mount: "/srv/lightning",
    options: "defaults,autodefrag,nofail,x-systemd.device-timeout=30s",
    minimumDeviceBytes: GIB,
    directories: [{ path: "/srv/lightning/lightning", owner: "bitcoin", group: "bitcoin", mode: "0700" }],
    ...change,
  };
}
const documentOf = (...volumes: VolumeDocument[]): StorageDocument => ({ stage: "storage", host: "alice", volumes });

/** A blank disk of its own; its number is made from its name. */
function disk(name: string, change: Partial<NonNullable<Device["found"]>> = {}): Device {
  const number = `8:${name.charCodeAt(name.length - 1)}`;
  const found = {
    node: `/dev/sd${name.at(-1)}`,
    number,
    disks: [number],
    bytes: 32 * GIB,
    signatures: [],
    holders: [],
  };
  return { name, found: { ...found, ...change } };
}

function filesystemOver(devices: Device[], change: Partial<Filesystem> = {}): Filesystem {
  const members = devices.map(({ found }, index) => ({
    devid: index + 1,
    ...(found ? { found: { path: found.node, number: found.number, neverMounted: false } } : {}),
  }));
  return { uuid: UUID, members, data: ["raid1"], metadata: ["raid1"], ...change };
}

const LIVE = { target: "/srv/lightning", type: "btrfs", source: "/dev/sda", options: ["rw", "relatime", "autodefrag"] };
const OWNED = { kind: "directory", owner: "bitcoin", group: "bitcoin", mode: "0700" } as const;

function blank(volume = volumeOf(), change: Partial<VolumeFacts> = {}): VolumeFacts {
  return {
    devices: volume.devices.map((name) => disk(name)),
    mounted: undefined,
    elsewhere: [],
    filesystem: undefined,
    making: false,
    mountPoint: undefined,
    directories: new Map(),
    withoutCopyOnWrite: [],
    takeOver: undefined,
    ...change,
  };
}

function asDesired(volume = volumeOf(), change: Partial<VolumeFacts> = {}): VolumeFacts {
  const facts = blank(volume);
  return {
    ...facts,
    filesystem: filesystemOver(facts.devices, { data: [volume.profile], metadata: [volume.profile] }),
    mounted: LIVE,
    directories: new Map(volume.directories.map(({ path }) => [path, OWNED])),
    ...change,
  };
}

function plan(facts: VolumeFacts, volume = volumeOf(), fstab = `${fstabLine(volume)}\n`) {
  return planStorage({ fstab, volumes: new Map([[volume.name, facts]]) }, documentOf(volume));
}
const kinds = (actions: { kind: string }[]) => actions.map(({ kind }) => kind);

/** The code with which a plan is refused. */
function refusal(...args: Parameters<typeof plan>): string {
  try {
    return `planned ${kinds(plan(...args)).join(", ")}`;
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
}

test("a host as desired needs nothing", (t) => {
  t.deepEqual(plan(asDesired()), []);
});

test("blank devices are formatted, then named in fstab, then mounted, then given their directories", (t) => {
  t.deepEqual(kinds(plan(blank(), volumeOf(), "")), [
    "storage/make-filesystem",
    "storage/protect-mount-point",
    "storage/set-fstab-entry",
    "daemon-reload",
    "storage/mount",
    "make-directory",
  ]);
});

test("every planned action belongs to a managed item", (t) => {
  const items = new Set<string>(storageItems(documentOf(volumeOf())));
  for (const action of plan(blank(), volumeOf(), "")) t.true(items.has(action.item), action.item);
});

test("surviving disks of a rebuilt host are mounted as they are, never formatted", (t) => {
  const facts = blank();
  const rebuilt = { ...facts, filesystem: filesystemOver(facts.devices) };
  t.deepEqual(kinds(plan(rebuilt, volumeOf(), "")), [
    "storage/protect-mount-point",
    "storage/set-fstab-entry",
    "daemon-reload",
    "storage/mount",
  ]);
});

test("the order of the devices does not matter", (t) => {
  const volume = volumeOf();
  const swapped = volumeOf({ devices: [...volume.devices].reverse() });
  t.deepEqual(plan(asDesired(swapped, { filesystem: asDesired(volume).filesystem }), swapped), []);
});

test("no plan formats or adds a device with a signature, whatever it is", (t) => {
  const signature = fc.record({
    type: fc.constantFrom("ext4", "gpt", "dos", "LVM2_member", "crypto_LUKS", "btrfs", "swap"),
  });
  fc.assert(
    fc.property(fc.array(signature, { minLength: 1 }), fc.nat(1), fc.boolean(), (signatures, at, making) => {
      const facts = blank(volumeOf(), { making });
      const device = facts.devices[at];
      if (device?.found) device.found.signatures = signatures;
      t.is(refusal(facts), "STORAGE-DEVICE-IN-USE");
    }),
  );
});

test("refuses a foreign filesystem by naming what is there", (t) => {
  const volume = volumeOf();
  const devices = [
    disk("/dev/disk/by-id/a"),
    disk("/dev/disk/by-id/b", { signatures: [{ type: "ext4", label: "photos" }] }),
  ];
  const error = t.throws(() => plan(blank(volume, { devices })), { instanceOf: Refusal });
  t.is(error?.received, "/dev/sdb holds ext4 labelled 'photos'");
});

test("refuses an absent device, one that is too small and one that another block device holds", (t) => {
  const a = disk("/dev/disk/by-id/a");
  const second = (change: Partial<NonNullable<Device["found"]>>) =>
    blank(volumeOf(), { devices: [a, disk("/dev/disk/by-id/b", change)] });
  t.is(refusal(blank(volumeOf(), { devices: [a, { name: "/dev/disk/by-id/b" }] })), "STORAGE-DEVICE-ABSENT");
  t.is(refusal(second({ bytes: GIB - 1 })), "STORAGE-DEVICE-TOO-SMALL");
  t.is(refusal(second({ holders: ["dm-0"] })), "STORAGE-DEVICE-IN-USE");
});

test("refuses two names, two partitions and two loops of one disk, also across volumes", (t) => {
  const shared = [disk("/dev/disk/by-id/a"), disk("/dev/disk/by-id/b", { disks: ["8:97"] })];
  t.is(refusal(blank(volumeOf(), { devices: shared })), "STORAGE-SAME-DISK");
  const other = volumeOf({
    name: "replica",
    uuid: UUID.replace("1", "9"),
    mount: "/srv/replica",
    devices: ["/dev/disk/by-id/a", "/dev/disk/by-id/c"],
  });
  const facts = {
    fstab: "",
    volumes: new Map([
      ["lightning", blank()],
      ["replica", blank(other)],
    ]),
  };
  t.throws(() => planStorage(facts, documentOf(volumeOf(), other)), { message: /STORAGE-SAME-DISK/ });
});

test("refuses fewer devices than the profile needs, and accepts as many", (t) => {
  const needed: Record<RaidProfile, number> = { raid1: 2, raid1c3: 3, raid1c4: 4, raid10: 4 };
  fc.assert(
    fc.property(fc.constantFrom(...RAID_PROFILES), fc.integer({ min: 1, max: 6 }), (profile, count) => {
      const devices = "abcdef"
        .slice(0, count)
        .split("")
        .map((letter) => `/dev/disk/by-id/${letter}`);
      const volume = volumeOf({ profile, devices });
      const refused = refusal(blank(volume), volume) === "STORAGE-TOO-FEW-DEVICES";
      t.is(refused, count < needed[profile]);
    }),
  );
});

for (const option of ["degraded", "nodatacow", "nodatasum"]) {
  test(`refuses the mount option ${option}`, (t) => {
    const volume = volumeOf({ options: `defaults,${option}` });
    t.is(refusal(blank(volume), volume), "STORAGE-MOUNT-OPTION");
  });
}

test("refuses to mount or format when a member is missing, and names its number", (t) => {
  const facts = blank();
  const filesystem = filesystemOver([facts.devices[0] as Device, { name: "gone" }]);
  const error = t.throws(() => plan({ ...facts, filesystem }), { instanceOf: Refusal });
  t.is(error?.code, "STORAGE-DEVICE-MISSING");
  t.regex(error?.received ?? "", /missing: devid 2; there: devid 1 \/dev\/sda/);
});

test("a half-made filesystem is made again only if this host began it and no kernel ever mounted it", (t) => {
  const state = (making: boolean, neverMounted: boolean) => {
    const facts = blank(volumeOf(), { making });
    const [first, second] = facts.devices as [Device, Device];
    if (first.found) first.found.signatures = [{ type: "btrfs", uuid: UUID }];
    const filesystem = filesystemOver([first, { name: second.name }]);
    for (const { found } of filesystem.members) if (found) found.neverMounted = neverMounted;
    return refusal({ ...facts, filesystem });
  };
  t.regex(state(true, true), /^planned storage\/make-filesystem/);
  for (const [making, never] of [
    [false, true],
    [true, false],
    [false, false],
  ] as const) {
    t.is(state(making, never), "STORAGE-DEVICE-MISSING");
  }
});

test("a whole filesystem is never made again, whatever was written down", (t) => {
  const facts = blank(volumeOf(), { making: true });
  const filesystem = filesystemOver(facts.devices);
  for (const { found } of filesystem.members) if (found) found.neverMounted = true;
  t.false(kinds(plan({ ...facts, filesystem })).includes("storage/make-filesystem"));
});

test("refuses a live mount with 'degraded', another filesystem at the mount point, and the volume in another place", (t) => {
  t.is(
    refusal(asDesired(volumeOf(), { mounted: { ...LIVE, options: [...LIVE.options, "degraded"] } })),
    "STORAGE-DEGRADED",
  );
  t.is(
    refusal(asDesired(volumeOf(), { filesystem: undefined, mounted: { ...LIVE, type: "ext4" } })),
    "STORAGE-MOUNT-TAKEN",
  );
  t.is(refusal(asDesired(volumeOf(), { mounted: undefined, elsewhere: ["/mnt"] })), "STORAGE-MOUNTED-ELSEWHERE");
});

test("refuses a mount point with files in it, and a stranger's line in fstab", (t) => {
  const entry = { kind: "directory", owner: "root", group: "root", mode: "0755" } as const;
  t.is(
    refusal(blank(volumeOf(), { mountPoint: { entry, empty: false, immutable: false } })),
    "STORAGE-MOUNT-POINT-IN-USE",
  );
  t.is(refusal(blank(), volumeOf(), "/dev/sdz1 /srv/lightning ext4 defaults 0 2\n"), "STORAGE-FSTAB-TAKEN");
});

test("refuses directories without copy-on-write", (t) => {
  t.is(
    refusal(asDesired(volumeOf(), { withoutCopyOnWrite: ["/srv/lightning/lightning"] })),
    "STORAGE-NO-COPY-ON-WRITE",
  );
});

test("a mount point is protected again if it can be written to or lost its attribute", (t) => {
  const point = (mode: string, immutable: boolean | undefined) =>
    kinds(
      plan(
        asDesired(volumeOf(), {
          mounted: undefined,
          mountPoint: { entry: { kind: "directory", owner: "root", group: "root", mode }, empty: true, immutable },
        }),
      ),
    );
  t.deepEqual(point("0000", true), ["storage/mount"]);
  t.deepEqual(point("0000", undefined), ["storage/mount"]);
  t.deepEqual(point("0000", false), ["storage/protect-mount-point", "storage/mount"]);
  t.deepEqual(point("0755", true), ["storage/protect-mount-point", "storage/mount"]);
});

test("a live mount without a declared option, or read-only, is remounted", (t) => {
  const live = (options: string[]) => kinds(plan(asDesired(volumeOf(), { mounted: { ...LIVE, options } })));
  t.deepEqual(live(["rw", "relatime"]), ["storage/remount"]);
  t.deepEqual(live(["ro", "autodefrag"]), ["storage/remount"]);
});

test("a new device is added before the conversion, a device is removed after it", (t) => {
  const three = volumeOf({
    profile: "raid1c3",
    devices: ["/dev/disk/by-id/a", "/dev/disk/by-id/b", "/dev/disk/by-id/c"],
  });
  const grown = plan(asDesired(three, { filesystem: asDesired().filesystem }), three);
  t.deepEqual(kinds(grown), ["storage/add-device", "storage/convert"]);
  t.like(grown[1], { data: "raid1c3", metadata: "raid1c3", reduces: false });

  const shrunk = plan(asDesired(volumeOf(), { filesystem: asDesired(three).filesystem }));
  t.deepEqual(kinds(shrunk), ["storage/convert", "storage/remove-device"]);
  t.like(shrunk[0], { data: "raid1", metadata: "raid1", reduces: true });
  t.like(shrunk[1], { device: "/dev/sdc" });
});

test("single chunks that a degraded mount left behind are converted", (t) => {
  const facts = asDesired();
  const filesystem = filesystemOver(facts.devices, { data: ["raid1", "single"] });
  t.deepEqual(kinds(plan({ ...facts, filesystem })), ["storage/convert"]);
});

test("one device keeps its metadata twice", (t) => {
  const one = volumeOf({ profile: "single", devices: ["/dev/disk/by-id/a"] });
  const facts = asDesired(one);
  t.deepEqual(
    plan({ ...facts, filesystem: filesystemOver(facts.devices, { data: ["single"], metadata: ["dup"] }) }, one),
    [],
  );
});

test("another account's number on a surviving directory is given over with what is in it; root's is not", (t) => {
  const found = (owner: string) =>
    asDesired(volumeOf(), { directories: new Map([["/srv/lightning/lightning", { ...OWNED, owner, group: owner }]]) });
  t.like(plan(found("4321"))[0], { kind: "storage/give-tree", from: "4321:4321" });
  t.deepEqual(kinds(plan(found("root"))), ["set-ownership"]);
});
