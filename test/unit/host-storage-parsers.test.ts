import { readFileSync } from "node:fs";
import test from "ava";
import { parseSignatures, parseSuperblock } from "../../scripts/host/storage/block.ts";
import { parseBalanceStatus, parseChunkTree, parseShow } from "../../scripts/host/storage/btrfs.ts";
import { mayMakeImmutable, parseAttributes } from "../../scripts/host/storage/facts.ts";

/** Output of btrfs-progs 6.14 and util-linux 2.41 (Debian 13). */
const fixture = (name: string) => readFileSync(new URL(`../fixtures/storage/${name}`, import.meta.url), "utf8");
const UUID = "11111111-2222-3333-4444-555555555555";

test("wipefs: a foreign filesystem is told by type, UUID and label", (t) => {
  const ext4 = { type: "ext4", uuid: "57e44d90-095d-44b8-8aa0-62dc80d570be", label: "photos" };
  t.deepEqual(parseSignatures(fixture("wipefs-ext4.json")), [ext4]);
});

test("wipefs: a device without signatures is blank, with empty output and with an empty list", (t) => {
  t.deepEqual(parseSignatures(""), []);
  t.deepEqual(parseSignatures('{"signatures": []}'), []);
});

test("dump-super: a filesystem straight from mkfs was never mounted", (t) => {
  t.true(parseSuperblock(fixture("dump-super-fresh.txt"))?.neverMounted);
});

test("dump-super: a filesystem that was in use is known as such, with its UUID and the device's number", (t) => {
  t.deepEqual(parseSuperblock(fixture("dump-super-in-use.txt")), { uuid: UUID, devid: 1, neverMounted: false });
});

test("dump-super: a log that waits for replay is use, before the first commit", (t) => {
  const fresh = fixture("dump-super-fresh.txt");
  t.false(parseSuperblock(fresh.replace(/^log_root\t\t0$/m, "log_root\t\t30441472"))?.neverMounted);
});

test("dump-super: no superblock is none", (t) => {
  t.is(parseSuperblock("superblock: bytenr=65536, device=/dev/loop4\n-----\n"), undefined);
});

test("dump-tree: the chunk tree tells all members and profiles", (t) => {
  const tree = parseChunkTree(fixture("dump-tree-chunk-raid1.txt"));
  t.deepEqual(tree, { devids: [1, 2], data: ["raid1"], metadata: ["raid1"] });
});

test("dump-tree: a chunk without a profile is single", (t) => {
  const text = fixture("dump-tree-chunk-raid1.txt").replace("type DATA|RAID1", "type DATA");
  t.deepEqual(parseChunkTree(text).data, ["single"]);
});

test("filesystem show: devices by number and path", (t) => {
  const devices = [
    { devid: 1, path: "/dev/loop4" },
    { devid: 2, path: "/dev/loop5" },
  ];
  t.deepEqual(parseShow(fixture("show.txt")), { uuid: UUID, devices });
});

test("filesystem show: a missing device has no path", (t) => {
  t.deepEqual(parseShow(fixture("show-missing.txt"))?.devices, [{ devid: 1, path: "/dev/loop4" }, { devid: 2 }]);
});

test("balance status: none, running and paused are told apart", (t) => {
  t.is(parseBalanceStatus(fixture("balance-none.txt")).state, "none");
  t.like(parseBalanceStatus(fixture("balance-running.txt")), {
    state: "running",
    line: "0 out of about 9 chunks balanced (1 considered), 100% left",
  });
  t.is(parseBalanceStatus(fixture("balance-paused.txt")).state, "paused");
});

test("lsattr: a path with spaces keeps its attributes", (t) => {
  const attributes = parseAttributes(fixture("lsattr.txt"));
  t.true(attributes.get("/srv/lightning/without checksums")?.includes("C"));
  t.false(attributes.get("/srv/lightning")?.includes("C"));
});

test("a container without CAP_LINUX_IMMUTABLE may not make a directory immutable, a machine's root may", (t) => {
  t.false(mayMakeImmutable("CapPrm:\t00000000a82c35fb\nCapEff:\t00000000a82c35fb\n"));
  t.true(mayMakeImmutable("CapEff:\t000001ffffffffff\n"));
});
