import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import test, { type ExecutionContext } from "ava";
import { labPlaces, stackName } from "../../scripts/setup/lab-places.mjs";
import { loopsBelow, mountsBelow } from "../../scripts/setup/mounts.mjs";
import { removeDeadLocks } from "../../scripts/setup/pulumi.mjs";

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

/** A lock as Pulumi's file backend leaves it (pkg/backend/diy/lock.go). */
function lock(places: ReturnType<typeof labPlaces>, content: object | string): string {
  const directory = join(places.backend, ".pulumi/locks/organization/twofold", places.stack);
  mkdirSync(directory, { recursive: true });
  const file = join(directory, `${randomUUID()}.json`);
  const holder = { username: "root", hostname: hostname(), timestamp: new Date().toISOString() };
  writeFileSync(file, typeof content === "string" ? content : JSON.stringify({ ...holder, ...content }));
  return file;
}

/** A process of this name that lives until it is killed. */
async function program(t: ExecutionContext, name: string): Promise<ChildProcess> {
  const directory = mkdtempSync(join(tmpdir(), "twofold-program-"));
  writeFileSync(join(directory, name), "#!/bin/sh\necho started\nread line\n", { mode: 0o755 });
  const child = spawn(join(directory, name), { stdio: ["pipe", "pipe", "inherit"] });
  t.teardown(() => {
    child.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  });
  await once(child.stdout, "data");
  return child;
}

test.serial(
  "a lock of Pulumi's whose holder is dead is removed, and one that another process has the number of",
  async (t) => {
    labsThere(t, "lab");
    const places = labPlaces();
    t.notThrows(() => removeDeadLocks(places), "without any lock");
    const ended = await program(t, "pulumi");
    ended.kill("SIGKILL");
    await once(ended, "close");
    const dead = lock(places, { pid: ended.pid });
    const reused = lock(places, { pid: process.pid });
    removeDeadLocks(places);
    t.false(existsSync(dead));
    t.false(existsSync(reused));
  },
);

test.serial("refuses to take the lock of a living pulumi, which somebody has started by hand", async (t) => {
  labsThere(t, "lab");
  const places = labPlaces();
  const living = await program(t, "pulumi");
  const file = lock(places, { pid: living.pid, timestamp: "2026-11-20T10:00:00Z" });
  const error = t.throws(() => removeDeadLocks(places));
  t.regex(
    error?.message ?? "",
    /another pulumi is at work on the lab\n {2}received: process \d+ of root@\S+, since 2026/,
  );
  t.true(error?.message.includes(`kill ${living.pid}`));
  t.true(existsSync(file));
});

test.serial("refuses to judge a lock of another machine, and one that can't be read", (t) => {
  labsThere(t, "lab");
  const places = labPlaces();
  const foreign = lock(places, { pid: 1, hostname: `not-${hostname()}` });
  t.throws(() => removeDeadLocks(places), { message: /another machine[\s\S]*remove that file/ });
  rmSync(foreign);
  const torn = lock(places, "{");
  t.throws(() => removeDeadLocks(places), { message: /can't be read[\s\S]*remove that file/ });
  t.true(existsSync(torn));
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
