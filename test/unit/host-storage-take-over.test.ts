import test from "ava";
import { Refusal } from "../../scripts/host/stage.ts";
import { planTakeOver, type TakeOverFacts } from "../../scripts/host/storage/take-over.ts";

const TAKE_OVER = { from: "/home/op/.lightning", to: "/srv/lightning/lightning", owner: "bitcoin", group: "bitcoin" };
const DIRECTORY = { kind: "directory", owner: "op", group: "op", mode: "0700" } as const;

const facts = (change: Partial<TakeOverFacts> = {}): TakeOverFacts => ({
  from: DIRECTORY,
  aside: undefined,
  to: "absent",
  users: [],
  fromIsMountPoint: false,
  ...change,
});

function outcome(found: TakeOverFacts, volume: "mounted" | "new" | "unmounted" = "mounted"): string {
  try {
    return planTakeOver(TAKE_OVER, found, volume)
      .map(({ kind }) => kind)
      .join();
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
}

test("a directory is taken over onto a new, an empty and a mounted volume", (t) => {
  t.is(outcome(facts()), "storage/take-over");
  t.is(outcome(facts({ to: "empty" })), "storage/take-over");
  t.is(outcome(facts(), "new"), "storage/take-over");
});

test("nothing is to be done once the symlink is in place, also when the disks are new", (t) => {
  const symlink = { ...DIRECTORY, kind: "symlink", target: TAKE_OVER.to } as const;
  for (const to of ["other", "empty", "absent"] as const)
    t.is(outcome(facts({ from: symlink, to, aside: DIRECTORY })), "");
});

test("an interrupted run goes on: after the copy, and after the old directory was moved", (t) => {
  t.is(outcome(facts({ to: "same" })), "storage/finish-take-over");
  t.is(outcome(facts({ from: undefined, aside: DIRECTORY, to: "other" })), "storage/finish-take-over");
});

test("a rebuilt host whose volume survived gets its symlink back", (t) => {
  t.is(outcome(facts({ from: undefined, to: "other" })), "storage/finish-take-over");
});

test("a volume that is yet to be mounted is decided on after that", (t) => {
  t.is(outcome(facts(), "unmounted"), "");
  t.is(outcome(facts({ from: undefined }), "unmounted"), "");
});

test("refuses a directory that is in use, also before the volume is mounted", (t) => {
  for (const volume of ["mounted", "new", "unmounted"] as const) {
    t.is(outcome(facts({ users: ["lightningd (4711)"] }), volume), "STORAGE-TAKE-OVER-IN-USE");
  }
});

test("refuses to choose between two directories that differ", (t) => {
  t.is(outcome(facts({ to: "other" })), "STORAGE-TAKE-OVER-CONFLICT");
});

test("refuses to bring back the old directory when the newer one is gone", (t) => {
  t.is(outcome(facts({ from: undefined, aside: DIRECTORY, to: "empty" })), "STORAGE-TAKE-OVER-MISSING");
});

test("refuses a directory that isn't there, a symlink elsewhere, a file, a mount point, and a second take-over", (t) => {
  t.is(outcome(facts({ from: undefined })), "STORAGE-TAKE-OVER-MISSING");
  t.is(outcome(facts({ from: { ...DIRECTORY, kind: "symlink", target: "/mnt/x" } })), "STORAGE-TAKE-OVER-SYMLINK");
  t.is(outcome(facts({ from: { ...DIRECTORY, kind: "file" } })), "STORAGE-TAKE-OVER-KIND");
  t.is(outcome(facts({ fromIsMountPoint: true })), "STORAGE-TAKE-OVER-MOUNT");
  t.is(outcome(facts({ aside: DIRECTORY })), "STORAGE-TAKE-OVER-ASIDE");
});
