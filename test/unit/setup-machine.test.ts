import { type ChildProcess, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { harvestPackages, seedPackages } from "../../scripts/setup/apt-cache.mjs";
import { writeAtomically } from "../../scripts/setup/files.mjs";
import { withLock } from "../../scripts/setup/lock.mjs";
import { attempt, run, which } from "../../scripts/setup/run.mjs";
import { waitUntil } from "../../scripts/setup/wait.mjs";

const LOCK = new URL("../../scripts/setup/lock.mjs", import.meta.url).href;

let directory: string;
test.before(() => {
  directory = mkdtempSync(join(tmpdir(), "twofold-setup-"));
  process.env.XDG_CACHE_HOME = join(directory, "cache");
});
test.after.always(() => rmSync(directory, { recursive: true, force: true }));

test("only one at a time holds a lock, and its file is gone with the last one", async (t) => {
  const file = join(directory, "one/lock");
  let inside = 0;
  let most = 0;
  const waits: string[] = [];
  await Promise.all(
    Array.from({ length: 6 }, () =>
      withLock(
        file,
        (line: string) => waits.push(line),
        async () => {
          inside += 1;
          most = Math.max(most, inside);
          await new Promise((resolve) => setImmediate(resolve));
          inside -= 1;
        },
      ),
    ),
  );
  t.is(most, 1);
  t.false(existsSync(file));
});

/** Another process that takes the lock, says so and keeps it. */
async function holder(t: ExecutionContext, file: string): Promise<ChildProcess> {
  const program = `import { withLock } from ${JSON.stringify(LOCK)};
    await withLock(${JSON.stringify(file)}, () => {}, () => { console.log("held"); return new Promise((resolve) => process.stdin.once("data", resolve)); });`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  // ava waits for whatever a test leaves running.
  t.teardown(() => child.kill("SIGKILL"));
  await new Promise((resolve) => child.stdout.once("data", resolve));
  return child;
}

test("a killed holder leaves no lock behind", async (t) => {
  const file = join(directory, "two/lock");
  const child = await holder(t, file);
  child.kill("SIGKILL");
  const started = Date.now();
  t.is(
    await withLock(
      file,
      () => {},
      async () => "mine",
    ),
    "mine",
  );
  t.true(Date.now() - started < 10_000);
});

test("who waits is told for whom", async (t) => {
  const file = join(directory, "three/lock");
  const child = await holder(t, file);
  const said: string[] = [];
  const mine = withLock(
    file,
    (line: string) => said.push(line),
    async () => "mine",
  );
  t.true(await waitUntil(() => said.length > 0, 10));
  t.regex(said[0] ?? "", new RegExp(`process ${child.pid}`));
  child.stdin?.end("go\n");
  t.is(await mine, "mine");
});

test("fails to lock where no file can be made, and says where", async (t) => {
  const file = join("/proc", "lock");
  await t.throwsAsync(
    () =>
      withLock(
        file,
        () => {},
        async () => {},
      ),
    { message: /\/proc\/lock/ },
  );
});

test("a program's failure is told with its last words", async (t) => {
  await t.throwsAsync(() => run("ls", ["/nowhere"], { why: "a reason", fix: "a remedy" }), {
    message: /exit status 2[\s\S]*\/nowhere[\s\S]*a reason[\s\S]*a remedy/,
  });
});

test("a full disk is told as one", async (t) => {
  await t.throwsAsync(() => run("dd", ["if=/dev/zero", "of=/dev/full", "count=1"]), { message: /free disk space/ });
});

test("fails on a program that isn't there by its name", async (t) => {
  await t.throwsAsync(() => attempt("no-such-program", []), { message: /install no-such-program/ });
  t.is(which("no-such-program"), undefined);
  t.truthy(which("sh"));
});

test("a program that hangs is ended at its deadline", async (t) => {
  const started = Date.now();
  const { timedOut, status } = await attempt("sleep", ["60"], { timeout: 0.2 });
  t.true(timedOut);
  t.is(status, null);
  t.true(Date.now() - started < 20_000);
});

test("arguments reach a program as they are", async (t) => {
  t.is(await run("printf", ["%s|", "a b", "$HOME", "*"]), "a b|$HOME|*|");
});

test("a file is replaced whole", async (t) => {
  const file = join(directory, "file");
  writeAtomically(file, "one");
  writeAtomically(file, "two");
  t.is(readFileSync(file, "utf8"), "two");
  t.is(statSync(file).mode & 0o777, 0o600);
  t.false(existsSync(`${file}.new`));
});

test("what one host fetched is there for the next, without being fetched or stored twice", (t) => {
  const [first, second] = [join(directory, "alice"), join(directory, "bob")];
  seedPackages(first);
  t.deepEqual(readdirSync(first), []);
  writeFileSync(join(first, "cron_3.0_amd64.deb"), "package");
  writeFileSync(join(first, "lock"), "");
  mkdirSync(join(first, "partial"));
  writeFileSync(join(first, "partial/curl_8_amd64.deb"), "half");
  harvestPackages(first, t.fail);
  seedPackages(second);
  t.deepEqual(readdirSync(second), ["cron_3.0_amd64.deb"]);
  t.is(statSync(join(second, "cron_3.0_amd64.deb")).ino, statSync(join(first, "cron_3.0_amd64.deb")).ino);
});

test("packages that can't be kept are told, and fail nothing", (t) => {
  const host = join(directory, "carol");
  mkdirSync(host);
  const said: string[] = [];
  // A directory can't be linked, for root neither.
  mkdirSync(join(host, "cron_4.0_amd64.deb"));
  harvestPackages(host, (line: string) => said.push(line));
  t.regex(said.join("\n"), /^packages could not be kept for the next lab: .*cron_4/);
});

test("no set-up script needs a package that set-up has yet to fetch", (t) => {
  const setup = join(import.meta.dirname, "../../scripts/setup");
  for (const name of readdirSync(setup).filter((file) => file.endsWith(".mjs"))) {
    const source = readFileSync(join(setup, name), "utf8");
    for (const [, specifier = ""] of source.matchAll(/^import .*? from "(.+?)";$/gm)) {
      t.true(specifier.startsWith("node:") || specifier.startsWith("."), `${name} imports ${specifier}`);
    }
  }
});
