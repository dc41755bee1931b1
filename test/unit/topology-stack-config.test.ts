import { writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { parseStackConfig, readStackConfig, StackConfigError } from "../../components/topology/stack-config.ts";
import { scratchDirectory } from "../helpers/scratch.ts";

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
  const file = join(scratchDirectory(), "Pulumi.lab-two.yaml");
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

for (const [scalar, forPulumi] of [
  ["0660", "432"],
  ["1_000", "1000"],
  ["0b11", "3"],
  ["-0x1F", "-31"],
  ["010", "8"],
  [".inf", "no value"],
  ["2026-11-20 10:00:00", "no value"],
] as const) {
  test(`refuses ${scalar} without quotes, which is something else for Pulumi, and takes it with them`, (t) => {
    const text = (value: string) => `config:\n  twofold:node:\n    options: { rpc-file-mode: ${value} }\n`;
    const found = problem(text(scalar));
    t.is(found?.code, "STACK_FILE_AMBIGUOUS");
    t.regex(found?.path ?? "", /Pulumi\.alice\.yaml:3:31$/);
    t.true(found?.received.startsWith(`${scalar} (for Pulumi: ${forPulumi}`), found?.received);
    t.true(found?.fix.includes(`"${scalar}"`), found?.fix);
    const { config } = parseStackConfig(text(`"${scalar}"`), FILE);
    t.deepEqual(config, { "twofold:node": { options: { "rpc-file-mode": scalar } } });
  });
}

test("numbers, texts and days are what they are for Pulumi", (t) => {
  const text =
    "config:\n  twofold:node: { a: 0, b: -17, c: 1.50, d: 0o17, e: yes, f: 2026-11-20, g: 08, h: ::1, i: }\n";
  t.deepEqual(parseStackConfig(text, FILE).config["twofold:node"], {
    ...{ a: 0, b: -17, c: 1.5, d: 15, e: "yes", f: "2026-11-20 00:00:00 +0000 UTC", g: 8, h: "::1", i: null },
  });
});

test("refuses a key that is no text for Pulumi, a merge and a tag", (t) => {
  for (const line of ["0660: x", "true: x", "2026-11-20: x", "<<: { a: b }", "a: !!int 5", "a: !secret x"]) {
    t.is(problem(`config:\n  twofold:node:\n    ${line}\n`)?.code, "STACK_FILE_AMBIGUOUS", line);
  }
});

test("refuses what a directive of YAML 1.1 would make of a word", (t) => {
  t.is(problem("%YAML 1.1\n---\nconfig:\n  twofold:allowStandins: yes\n")?.code, "STACK_FILE_AMBIGUOUS");
});

test("a key without a namespace is the project's own, as it is for Pulumi, and must not stand twice", (t) => {
  const { config } = parseStackConfig("config:\n  maintenance: { scrub: a }\n  docker:host: b\n", FILE);
  t.deepEqual(config, { "twofold:maintenance": { scrub: "a" }, "docker:host": "b" });
  const found = problem("config:\n  maintenance: {}\n  twofold:maintenance: {}\n");
  t.is(found?.code, "STACK_FILE_AMBIGUOUS");
  t.regex(found?.what ?? "", /maintenance/);
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
