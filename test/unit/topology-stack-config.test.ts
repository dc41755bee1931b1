import { writeFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { parseStackConfig, readStackConfig, StackConfigError } from "../../components/topology/stack-config.ts";

const FILE = "/srv/infra/Pulumi.alice.yaml";

function problem(text: string, file = FILE) {
  try {
    parseStackConfig(text, file);
    return undefined;
  } catch (error) {
    return error instanceof StackConfigError ? error.problem : undefined;
  }
}

test("a stack's file gives its name and its config", async (t) => {
  const file = join(await mkdtemp(join(tmpdir(), "twofold-")), "Pulumi.lab-two.yaml");
  writeFileSync(file, "encryptionsalt: v1:x\nconfig:\n  twofold:node:\n    name: alice\n    options: { port: 9735 }\n");
  t.deepEqual(readStackConfig(file), {
    stack: "lab-two",
    config: { "twofold:node": { name: "alice", options: { port: 9735 } } },
  });
});

test("refuses a file that is not there, with the path", (t) => {
  const error = t.throws(() => readStackConfig("/nonexistent/Pulumi.alice.yaml"), { instanceOf: StackConfigError });
  t.is(error?.problem.code, "STACK_FILE_UNREADABLE");
  t.regex(error?.message ?? "", /ENOENT.*\/nonexistent\/Pulumi\.alice\.yaml/);
});

test("refuses what is not YAML, with line and column", (t) => {
  const found = problem("config:\n  twofold:node:\n    name: alice\n   host: alice\n");
  t.is(found?.code, "STACK_FILE_YAML");
  t.regex(found?.path ?? "", /^\/srv\/infra\/Pulumi\.alice\.yaml:4:/);
  t.is(found?.received, '"host: alice"');
});

test("refuses a key that stands twice, of which one would be ignored", (t) => {
  const found = problem("config:\n  twofold:node:\n    name: alice\n    name: bob\n");
  t.is(found?.code, "STACK_FILE_YAML");
  t.regex(found?.path ?? "", /:4:5$/);
});

for (const [title, text] of Object.entries({
  "an empty file": "",
  "a file without config": "encryptionsalt: x\n",
  "a list": "- a\n",
  "a config that is a text": "config: hello\n",
})) {
  test(`refuses ${title}`, (t) => {
    t.is(problem(text)?.code, "STACK_FILE_NO_CONFIG");
  });
}

test("refuses a file whose name does not tell the stack", (t) => {
  t.is(problem("config: {}\n", "/srv/infra/alice.yaml")?.code, "STACK_FILE_NAME");
});
