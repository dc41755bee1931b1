import test from "ava";
import { mountOf } from "../../scripts/host/lightningd/disks.ts";
import { parseMounts } from "../../scripts/host/read.ts";

const MOUNTS = parseMounts(`22 1 8:2 / / rw - ext4 /dev/sda2 rw
30 22 0:31 / /srv rw - btrfs /dev/sdb rw
31 30 0:40 / /srv/replica rw - ext4 /dev/sdc1 rw
32 31 0:41 / /srv/replica rw - ext4 /dev/sdd1 rw
`);

test("a path lies on the longest mount point above it", (t) => {
  t.is(mountOf(MOUNTS, "/srv/lightning/db")?.source, "/dev/sdb");
  t.is(mountOf(MOUNTS, "/home/db")?.source, "/dev/sda2");
});

test("a mount point is no beginning of another name", (t) => {
  t.is(mountOf(MOUNTS, "/srv/replica2/db")?.source, "/dev/sdb");
});

test("of two mounts at one point the later is on top", (t) => {
  t.is(mountOf(MOUNTS, "/srv/replica/db")?.source, "/dev/sdd1");
});
