import test from "ava";
import { Refusal } from "../../scripts/host/stage.ts";
import { planTakeOver, type TakeOverFacts } from "../../scripts/host/storage/take-over.ts";

const TAKE_OVER = {
  from: "/home/op/.lightning",
  to: "/srv/lightning/lightning",
  holds: ["bitcoin/hsm_secret", "bitcoin/lightningd.sqlite3"],
  ...{ owner: "bitcoin", group: "bitcoin", mode: "0700" },
};
const DIRECTORY = { kind: "directory", owner: "op", group: "op", mode: "0700" } as const;

const facts = (change: Partial<TakeOverFacts> = {}): TakeOverFacts => ({
  from: DIRECTORY,
  aside: undefined,
  to: "absent",
  lacking: [],
  users: [],
  fromIsMountPoint: false,
  hasParent: true,
  ...change,
});

function outcome(found: TakeOverFacts, volume: "mounted" | "new" | "unmounted" = "mounted"): string {
  return (
    refusal(found, volume)?.code ??
    planTakeOver(TAKE_OVER, found, volume)
      .map(({ kind }) => kind)
      .join()
  );
}

function refusal(found: TakeOverFacts, volume: "mounted" | "new" | "unmounted" = "mounted"): Refusal | undefined {
  try {
    planTakeOver(TAKE_OVER, found, volume);
    return undefined;
  } catch (error) {
    if (error instanceof Refusal) return error;
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

test("refuses a rebuilt host that has no place for the symlink, and says that takeOver may go", (t) => {
  const found = refusal(facts({ from: undefined, to: "other", hasParent: false }));
  t.is(found?.code, "STORAGE-TAKE-OVER-PARENT");
  t.regex(found?.message ?? "", /there is no \/home\/op\n[\s\S]*take takeOver out of the config/);
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

test("refuses what is no lightning directory of this node, also before the volume is mounted", (t) => {
  const lacking = ["bitcoin/hsm_secret (nothing there)", "bitcoin/lightningd.sqlite3 (a symlink)"];
  for (const volume of ["mounted", "new", "unmounted"] as const) {
    const found = refusal(facts({ lacking, users: ["bash (1)"] }), volume);
    t.is(found?.code, "STORAGE-TAKE-OVER-NO-NODE");
    t.regex(found?.received ?? "", /hsm_secret \(nothing there\) and .*sqlite3 \(a symlink\)/);
  }
});

test("refuses to finish while somebody uses the directory that was moved aside", (t) => {
  const found = refusal(facts({ from: undefined, aside: DIRECTORY, to: "other", users: ["lightningd (1)"] }));
  t.is(found?.code, "STORAGE-TAKE-OVER-IN-USE");
  t.regex(found?.message ?? "", /\.lightning\.before-twofold is in use/);
});

test("refuses to choose between two directories that differ", (t) => {
  t.is(outcome(facts({ to: "other" })), "STORAGE-TAKE-OVER-CONFLICT");
});

test("refuses to bring back the old directory when the newer one is gone", (t) => {
  for (const to of ["empty", "absent"] as const) {
    const found = refusal(facts({ from: undefined, aside: DIRECTORY, to }));
    t.is(found?.code, "STORAGE-TAKE-OVER-MISSING");
    t.regex(found?.fix ?? "", /take takeOver out of the config, and restore the newest copy/);
  }
});

test("refuses a directory that isn't there, a symlink elsewhere, a file, a mount point, and a second take-over", (t) => {
  t.is(outcome(facts({ from: undefined })), "STORAGE-TAKE-OVER-MISSING");
  t.regex(
    refusal(facts({ from: undefined }))?.fix ?? "",
    /restored here, or a new one: take takeOver out of the config/,
  );
  t.is(outcome(facts({ from: { ...DIRECTORY, kind: "symlink", target: "/mnt/x" } })), "STORAGE-TAKE-OVER-SYMLINK");
  t.is(outcome(facts({ from: { ...DIRECTORY, kind: "file" } })), "STORAGE-TAKE-OVER-KIND");
  t.is(outcome(facts({ fromIsMountPoint: true })), "STORAGE-TAKE-OVER-MOUNT");
  t.is(outcome(facts({ aside: DIRECTORY })), "STORAGE-TAKE-OVER-ASIDE");
});
