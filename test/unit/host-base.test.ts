import test from "ava";
import { type BaseFacts, hasGroup, parseDistribution, parseUser } from "../../scripts/host/base/facts.ts";
import { baseItems, DISTRIBUTIONS, planBase } from "../../scripts/host/base/plan.ts";
import { outdated } from "../../scripts/host/base/programs.ts";
import type { BaseDocument } from "../../scripts/host/contract.ts";
import { parseFilesystems, parseModules } from "../../scripts/host/kernel.ts";
import type { Unit } from "../../scripts/host/read.ts";
import { Refusal } from "../../scripts/host/stage.ts";

const document: BaseDocument = {
  stage: "base",
  host: "alice",
  packages: ["btrfs-progs", "cron"],
  user: { name: "bitcoin", home: "/var/lib/bitcoin" },
};

const unit = (change: Partial<Unit> = {}): Unit => ({
  load: "loaded",
  active: "active",
  sub: "running",
  enabled: "enabled",
  needsReload: false,
  mainPid: 1,
  startedAt: 1,
  ...change,
});
const absent = unit({ load: "not-found", active: "inactive", enabled: "" });

const asDesired: BaseFacts = {
  distribution: "debian 13",
  installed: new Set(["btrfs-progs", "cron"]),
  user: { uid: 998, gid: 997, group: "bitcoin" },
  hasGroup: true,
  home: { kind: "directory", owner: "bitcoin", group: "bitcoin", mode: "0750" },
  program: "host-abc.mjs",
  current: { kind: "symlink", owner: "root", group: "root", mode: "0777", target: "host-abc.mjs" },
  clock: { container: false, services: new Map([["chrony.service", unit()]]), synchronised: true },
  kernel: { release: "6.12.0", has: new Set(["btrfs"]) },
  strangers: [],
};
const withPackages = (...packages: string[]) => ({ ...document, packages });
const kernelWith = (...names: string[]) => ({ ...asDesired, kernel: { release: "6.12.0", has: new Set(names) } });
const empty: BaseFacts = {
  ...asDesired,
  installed: new Set(),
  user: undefined,
  hasGroup: false,
  home: undefined,
  current: undefined,
  clock: { container: false, services: new Map([["systemd-timesyncd.service", absent]]), synchronised: false },
};
const kinds = (facts: BaseFacts) => planBase(facts, document).map(({ kind }) => kind);

test("a host as desired needs nothing", (t) => {
  t.deepEqual(planBase(asDesired, document), []);
});

test("an empty host gets packages, group, account, home, a clock and the program, in this order", (t) => {
  t.deepEqual(kinds(empty), [
    "install-package",
    "install-package",
    "create-group",
    "create-user",
    "make-directory",
    "install-package",
    "enable-unit",
    "start-unit",
    "base/await-clock",
    "make-symlink",
  ]);
});

test("every planned action belongs to a managed item", (t) => {
  const items = new Set<string>(baseItems(document));
  for (const action of planBase(empty, document)) t.true(items.has(action.item), action.item);
});

test("an account that is there is taken as it is", (t) => {
  const home = { kind: "directory", owner: "bitcoin", group: "users", mode: "0755" } as const;
  t.deepEqual(planBase({ ...asDesired, user: { uid: 1000, gid: 1000, group: "bitcoin" }, home }, document), []);
});

test("refuses an account of another primary group, and root's number", (t) => {
  for (const user of [
    { uid: 1000, gid: 100, group: "users" },
    { uid: 0, gid: 0, group: "bitcoin" },
  ]) {
    t.throws(() => planBase({ ...asDesired, user }, document), { message: /HOST-ACCOUNT/ });
  }
});

test("a group that was deleted under its account comes back with the number that the files have", (t) => {
  const facts = { ...asDesired, hasGroup: false, user: { uid: 998, gid: 997, group: undefined } };
  const actions = planBase(facts, document);
  t.like(actions, { 0: { kind: "create-group", item: "group:bitcoin", gid: 997 }, length: 1 });
});

test("an account and its group that were deleted come back with the numbers that own its home", (t) => {
  const home = { kind: "directory" as const, owner: "998", group: "997", mode: "0750" };
  const actions = planBase({ ...asDesired, user: undefined, hasGroup: false, home }, document);
  t.like(actions, { 0: { kind: "create-group", gid: 997 }, 1: { kind: "create-user", uid: 998 }, length: 2 });
  const kept = planBase({ ...asDesired, user: undefined, home: { ...home, group: "bitcoin" } }, document);
  t.like(kept, { 0: { kind: "create-user", uid: 998 }, length: 1 });
});

test("a home that belongs to somebody else names no number", (t) => {
  const home = { kind: "directory" as const, owner: "satoshi", group: "users", mode: "0750" };
  const actions = planBase({ ...asDesired, user: undefined, hasGroup: false, home }, document);
  t.deepEqual(
    actions.map(({ kind, ...rest }) => [kind, "uid" in rest, "gid" in rest]),
    [
      ["create-group", false, false],
      ["create-user", false, false],
    ],
  );
});

test("a container's clock is its host's: nothing is installed for it", (t) => {
  t.deepEqual(kinds({ ...asDesired, clock: { ...empty.clock, container: true } }), []);
});

test("a time service that is installed but stopped is started, and no second one installed", (t) => {
  const services = new Map([
    ["systemd-timesyncd.service", absent],
    ["chrony.service", unit({ active: "inactive" })],
  ]);
  const actions = planBase({ ...asDesired, clock: { container: false, services, synchronised: true } }, document);
  t.deepEqual(
    actions.map(({ kind, item }) => [kind, item]),
    [["start-unit", "clock:synchronised"]],
  );
  t.like(actions[0], { unit: "chrony.service" });
});

test("refuses every distribution but the supported ones, and names it", (t) => {
  for (const distribution of DISTRIBUTIONS) t.notThrows(() => planBase({ ...asDesired, distribution }, document));
  for (const distribution of ["debian 11", "ubuntu 22.04", "alpine 3.22", "unknown"]) {
    t.throws(() => planBase({ ...empty, distribution }, document), {
      message: new RegExp(`received: ${distribution}`),
    });
  }
});

test("refuses, before anything else is changed, a host whose own lightningd has its files in the way", (t) => {
  const strangers = ["/etc/lightningd/lightningd.conf"];
  const error = t.throws(() => planBase({ ...empty, strangers }, document), { instanceOf: Refusal });
  t.is(error?.code, "HOST-IN-THE-WAY");
});

test("refuses NFS where the kernel has none, before any package is installed, and nothing else for it", (t) => {
  for (const name of ["nfs-common", "nfs-kernel-server"]) {
    t.throws(() => planBase(kernelWith("btrfs", "sysfs"), withPackages("cron", name)), {
      message: /HOST-NFS[\s\S]*received: kernel 6\.12\.0/,
    });
  }
  t.throws(() => planBase(kernelWith("nfs4"), withPackages("nfs-kernel-server")), { message: /HOST-NFS/ });
  t.throws(() => planBase(kernelWith("nfsd"), withPackages("nfs-common")), { message: /HOST-NFS/ });
  for (const module of ["nfs4", "nfsv4"])
    t.notThrows(() => planBase(kernelWith(module), withPackages("nfs-common")), module);
  t.notThrows(() => planBase(kernelWith("nfsd"), withPackages("nfs-kernel-server")));
  t.notThrows(() => planBase(kernelWith(), document));
});

test("filesystems and modules of a kernel are read, loaded, loadable and built in", (t) => {
  t.deepEqual(parseFilesystems("nodev\tsysfs\nnodev\tnfs4\n\text3\n"), ["sysfs", "nfs4", "ext3"]);
  t.deepEqual(
    parseModules(
      "kernel/fs/nfs/nfsv4.ko.xz: kernel/fs/nfs/nfs.ko.xz kernel/net/sunrpc/sunrpc.ko.xz\nkernel/fs/ext4/ext4.ko:\n",
    ),
    ["nfsv4", "ext4"],
  );
  t.deepEqual(parseModules("kernel/fs/nfsd/nfsd.ko\n"), ["nfsd"]);
});

test("os-release is read with and without quotes", (t) => {
  t.is(parseDistribution('PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_ID="13"\nID=debian\n'), "debian 13");
  t.is(parseDistribution("ID=ubuntu\nVERSION_ID='24.04'\nID_LIKE=debian\n"), "ubuntu 24.04");
  t.is(parseDistribution(""), "unknown");
});

test("an account is found with the name of its primary group; a longer name is another account", (t) => {
  const passwd =
    "root:x:0:0:root:/root:/bin/bash\nbitcoind:x:997:997::/:/bin/sh\nbitcoin:x:998:996::/var/lib/bitcoin:/usr/sbin/nologin\n";
  const group = "root:x:0:\nbitcoin:x:996:\nbitcoind:x:997:\n";
  t.deepEqual(parseUser(passwd, group, "bitcoin"), { uid: 998, gid: 996, group: "bitcoin" });
  t.is(parseUser(passwd, group, "bit"), undefined);
  t.true(hasGroup(group, "bitcoin"));
  t.false(hasGroup(group, "bit"));
});

test("of older programs the newest is kept, beside the current one, whichever is newer", (t) => {
  const programs = [
    { name: "a", copiedAt: 1 },
    { name: "c", copiedAt: 3 },
    { name: "b", copiedAt: 2 },
  ];
  t.deepEqual(outdated(programs, "c"), ["a"]);
  t.deepEqual(outdated(programs, "a"), ["b"]);
  t.deepEqual(outdated([{ name: "a", copiedAt: 1 }], "a"), []);
});
