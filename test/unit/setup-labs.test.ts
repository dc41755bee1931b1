import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import test, { type ExecutionContext } from "ava";
import { labPlaces, stackName } from "../../scripts/setup/lab-places.mjs";
import { loopsBelow, mountsBelow } from "../../scripts/setup/mounts.mjs";

const LAB = join(import.meta.dirname, "../../scripts/setup/lab.mjs");

test("the default lab is the stack 'lab', and an instance never shares a stack with another lab", (t) => {
  t.is(stackName("default", undefined), "lab");
  t.is(stackName("quorum", undefined), "lab-quorum");
  t.is(stackName("default", "x1"), "lab-default-x1");
});

test("a lab's config and state lie in its own directory, named as the verbs look for it", (t) => {
  const { directory, configFile, backend } = labPlaces("default", "x1");
  t.true(directory.endsWith("/twofold/labs/lab-default-x1"));
  t.is(configFile, `${directory}/Pulumi.lab-default-x1.yaml`);
  t.true(backend.startsWith(`${directory}/`));
});

test("refuses an unknown lab and names the known ones", (t) => {
  t.throws(() => labPlaces("nope"), { message: /no lab 'nope'[\s\S]*name one of: .*default/ });
});

/** An operator's machine with these directories of labs, of which no file in stacks/labs/ need be left. */
function labsThere(t: ExecutionContext, ...stacks: string[]): string {
  const state = mkdtempSync(join(tmpdir(), "twofold-state-"));
  const before = process.env.XDG_STATE_HOME;
  t.teardown(() => {
    if (before === undefined) delete process.env.XDG_STATE_HOME;
    else process.env.XDG_STATE_HOME = before;
    rmSync(state, { recursive: true, force: true });
  });
  process.env.XDG_STATE_HOME = state;
  for (const stack of stacks) mkdirSync(join(state, "twofold/labs", stack), { recursive: true });
  return join(state, "twofold/labs");
}

test.serial("a lab whose file is gone is known as long as it has a directory, to lab:down alone", (t) => {
  const labs = labsThere(t, "lab", "lab-quorum", "lab-quorum-x1");
  t.is(labPlaces("quorum", undefined, { leftovers: true }).directory, join(labs, "lab-quorum"));
  t.is(labPlaces("quorum", "x1", { leftovers: true }).directory, join(labs, "lab-quorum-x1"));
  t.throws(() => labPlaces("quorum"), { message: /no lab 'quorum'/ });
  t.throws(() => labPlaces("quorum", "x2", { leftovers: true }), { message: /no lab 'quorum'/ });
  const error = t.throws(() => labPlaces("quorun", undefined, { leftovers: true }));
  t.regex(error?.message ?? "", /name one of: .*default.*quorum/);
});

test("refuses an instance name that can't be part of a container's name", (t) => {
  t.throws(() => labPlaces("default", "../x"), { message: /received: \.\.\/x/ });
});

for (const [what, parameters] of [
  ["an unknown option", ["up", "--lightnigd", "x"]],
  ["two labs", ["up", "default", "default"]],
  ["an archive for lab:down", ["down", "--lightningd", "x"]],
] as const) {
  test(`refuses ${what} and shows the usage`, async (t) => {
    const error = await t.throwsAsync<Error & { code: number; stderr: string }>(() =>
      promisify(execFile)(process.execPath, [LAB, ...parameters]),
    );
    t.is(error.code, 1);
    t.regex(error.stderr, /usage: npm run lab/);
    t.notRegex(error.stderr, / at .*\.mjs:/, "an operator's mistake is told without a stack trace");
  });
}

test("refuses an archive of lightningd that is not there, before anything is made", async (t) => {
  const error = await t.throwsAsync<Error & { stdout: string; stderr: string }>(() =>
    promisify(execFile)(process.execPath, [LAB, "up", "--lightningd", "/nowhere/x.tar.xz"]),
  );
  t.regex(error.stderr, /\/nowhere\/x\.tar\.xz|needs root/);
  t.is(error.stdout, "");
});

/** The part of a checkout that `npm run lab` starts with, in a directory of this name. */
function checkout(t: ExecutionContext, name: string): string {
  const parent = mkdtempSync(join(tmpdir(), "twofold-checkout-"));
  t.teardown(() => rmSync(parent, { recursive: true, force: true }));
  const root = join(parent, name);
  for (const part of ["scripts/setup", "stacks/labs"]) {
    cpSync(join(import.meta.dirname, "../..", part), join(root, part), { recursive: true });
  }
  return root;
}

for (const [what, name] of [
  ["a space", "two fold"],
  ["letters that URLs write otherwise", "zwölf%20 für#1?"],
] as const) {
  test(`npm run lab and the shell check run in a checkout with ${what} in its path, and through a link to it`, async (t) => {
    const root = checkout(t, name);
    const link = `${root}-link`;
    symlinkSync(root, link);
    for (const path of [root, link]) {
      const { stdout } = await promisify(execFile)(process.execPath, [
        join(path, "scripts/setup/lab.mjs"),
        "up",
        "--help",
      ]);
      t.regex(stdout, /usage: npm run lab/);
      // Without a PATH there is no shellcheck and nothing to install it with: it says so.
      const lint = await promisify(execFile)(process.execPath, [join(path, "scripts/setup/lint-shell.mjs")], {
        env: { ...process.env, PATH: "/nonexistent" },
      });
      t.regex(lint.stdout, /shellcheck skipped/);
    }
  });
}

const MOUNTINFO = `22 1 254:0 / / rw - ext4 /dev/vda rw
60 22 0:147 / /state/labs/lab/store rw - btrfs /dev/loop1 rw
61 60 0:148 / /state/labs/lab/store/snapshot\\040one rw - btrfs /dev/loop2 rw
62 22 0:149 / /state/labs/lab-two/store rw - btrfs /dev/loop3 rw
`;

test("a lab's mounts are found nested ones first, and another lab's are not", (t) => {
  t.deepEqual(mountsBelow(MOUNTINFO, "/state/labs/lab"), [
    "/state/labs/lab/store/snapshot one",
    "/state/labs/lab/store",
  ]);
});

const LOOPS = `/dev/loop1 /state/labs/lab/store.img
/dev/loop2 /state/labs/lab/store/disks/alice-a.img (deleted)
/dev/loop3 /state/labs/lab-two/store.img
/dev/loop4 /state/labs/lab/with\\x20space.img
`;

test("a lab's loop devices are found by their files, removed files included, and another lab's are not", (t) => {
  t.deepEqual(loopsBelow(LOOPS, "/state/labs/lab"), [
    { device: "/dev/loop1", file: "/state/labs/lab/store.img" },
    { device: "/dev/loop2", file: "/state/labs/lab/store/disks/alice-a.img" },
    { device: "/dev/loop4", file: "/state/labs/lab/with space.img" },
  ]);
});
