import test from "ava";
import fc from "fast-check";
import { fstabLine, ourLines, strangersAt, withEntry } from "../../scripts/host/storage/fstab.ts";

const volume = {
  uuid: "11111111-2222-3333-4444-555555555555",
  mount: "/srv/lightning",
  options: "defaults,autodefrag,nofail,x-systemd.device-timeout=30s",
};
const OURS =
  "UUID=11111111-2222-3333-4444-555555555555 /srv/lightning btrfs defaults,autodefrag,nofail,x-systemd.device-timeout=30s 0 0";

/** Lines of an administrator: comments, blank ones, other filesystems. */
const strangeLine = fc.oneof(
  fc.constant(""),
  fc.string({ maxLength: 30 }).map((text) => `# ${text.replaceAll("\n", " ").replaceAll("\r", " ")}`),
  fc.constantFrom(
    "/dev/sda1 / ext4 errors=remount-ro 0 1",
    "UUID=aaaa-bbbb /boot/efi vfat umask=0077 0 1",
    "proc /proc proc",
  ),
);

test("the line is the backup document's own, with nofail and a device timeout", (t) => {
  t.is(fstabLine(volume), OURS);
});

test("an entry is added at the end of a file, also of an empty one and of one without a last newline", (t) => {
  t.is(withEntry("", volume), `${OURS}\n`);
  t.is(withEntry("proc /proc proc", volume), `proc /proc proc\n${OURS}\n`);
});

test("every other line stays as and where it was, and a second time changes nothing", (t) => {
  fc.assert(
    fc.property(fc.array(strangeLine), fc.array(strangeLine), fc.boolean(), (before, after, present) => {
      const old = present ? [OURS.replace("autodefrag", "degraded")] : [];
      const text = [...before, ...old, ...after].map((line) => `${line}\n`).join("");
      const written = withEntry(text, volume);
      const expected = present ? [...before, OURS, ...after] : [...before, ...after, OURS];
      t.is(written, expected.map((line) => `${line}\n`).join(""));
      t.is(withEntry(written, volume), written);
    }),
  );
});

test("two lines of the same filesystem become one", (t) => {
  const other = "/dev/disk/by-uuid/11111111-2222-3333-4444-555555555555 /mnt btrfs defaults 0 0";
  t.is(ourLines(`${OURS}\n${other}\n`, volume).length, 2);
  t.is(withEntry(`${other}\nproc /proc proc\n${OURS}\n`, volume), `${OURS}\nproc /proc proc\n`);
});

test("another filesystem's line with the same mount point is a stranger; a comment is not", (t) => {
  const stranger = "/dev/sdb1\t/srv/lightning\text4 defaults 0 2";
  t.deepEqual(strangersAt(`${stranger}\n# /dev/sdc /srv/lightning\n${OURS}\n`, volume), [stranger]);
});
