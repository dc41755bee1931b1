import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { enter, leave, others, started, startedEngine } from "../../scripts/setup/engine-users.mjs";

const USERS = new URL("../../scripts/setup/engine-users.mjs", import.meta.url).href;

test("a process that lives is one of the others, and one that was killed is forgotten", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "twofold-users-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  enter(directory);
  t.deepEqual(others(directory), [], "itself is no other");
  const program = `import { enter } from ${JSON.stringify(USERS)};
    enter(${JSON.stringify(directory)}); console.log("entered"); process.stdin.resume();`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  t.deepEqual(others(directory), [child.pid]);
  child.kill("SIGKILL");
  await once(child, "exit");
  t.deepEqual(others(directory), []);
  leave(directory);
  t.deepEqual(readdirSync(directory), []);
});

test("an engine is known while its process lives, and not by another process of its number", (t) => {
  const directory = mkdtempSync(join(tmpdir(), "twofold-users-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  t.is(startedEngine(directory), undefined);
  started(process.pid, directory);
  t.is(startedEngine(directory), process.pid);
  writeFileSync(join(directory, "engine"), `${process.pid} 1\n`);
  t.is(startedEngine(directory), undefined);
});
