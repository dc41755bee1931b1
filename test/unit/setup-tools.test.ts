import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { lockDifferences } from "../../scripts/setup/dependencies.mjs";
import { isShell } from "../../scripts/setup/lint-shell.mjs";
import { namedFile } from "../../scripts/setup/named-file.mjs";
import { chooseInstalled } from "../../scripts/setup/plugins.mjs";
import { countLine, failureReader, summary } from "../../scripts/setup/tap.mjs";
import { checksumOf, pulumiVersion } from "../../scripts/setup/toolchain.mjs";
import { stillRemembered } from "../../scripts/setup/upstream.mjs";

const SETUP = join(import.meta.dirname, "../../scripts/setup");

test("nothing is installed while npm's record matches the lock file, optional packages left out", (t) => {
  const lock = {
    packages: {
      "": {},
      "node_modules/a": { version: "1.0.0" },
      "node_modules/b": { version: "2.0.0", optional: true },
    },
  };
  t.deepEqual(lockDifferences(lock, { packages: { "node_modules/a": { version: "1.0.0" } } }), []);
});

test("a missing, an outdated and a superfluous package are each a reason to install", (t) => {
  const lock = { packages: { "node_modules/a": { version: "1.0.0" }, "node_modules/b": { version: "2.0.0" } } };
  const installed = { packages: { "node_modules/b": { version: "1.9.0" }, "node_modules/c": { version: "3.0.0" } } };
  t.deepEqual(lockDifferences(lock, installed), [
    "node_modules/a is missing",
    "node_modules/b is 1.9.0, wanted 2.0.0",
    "node_modules/c is not in the lock file",
  ]);
});

test("the exact plugin is chosen, else the newest of its major version, never an unfinished one", (t) => {
  const entries = [
    "resource-docker-v4.9.0",
    "resource-docker-v5.0.0",
    "resource-docker-v5.10.0",
    "resource-docker-v5.9.0",
  ];
  t.is(chooseInstalled(entries, "docker", "5.0.0"), "resource-docker-v5.0.0");
  t.is(chooseInstalled(entries, "docker", "5.2.0"), "resource-docker-v5.10.0");
  t.is(chooseInstalled([...entries, "resource-docker-v5.10.0.partial"], "docker", "5.2.0"), "resource-docker-v5.9.0");
  t.is(chooseInstalled(entries, "docker", "6.0.0"), undefined);
  t.is(chooseInstalled(["resource-docker-build-v5.0.0"], "docker", "5.0.0"), undefined);
});

test("a checksum is that of the very file", (t) => {
  const digest = "a".repeat(64);
  const list = `${"b".repeat(64)}  pulumi-v3.250.0-linux-x64.tar.gz.sig\n${digest}  pulumi-v3.250.0-linux-x64.tar.gz\n`;
  t.is(checksumOf(list, "pulumi-v3.250.0-linux-x64.tar.gz"), digest);
  t.is(checksumOf(list, "pulumi-v3.250.0-linux-arm64.tar.gz"), undefined);
  t.is(checksumOf("not a list", "x"), undefined);
});

test("the CLI that is built from Go modules is the version that package.json pins", (t) => {
  const goMod = readFileSync(join(SETUP, "toolchain/pulumi/go.mod"), "utf8");
  t.true(goMod.includes(`require github.com/pulumi/pulumi/pkg/v3 v${pulumiVersion()}\n`));
});

test("every module that the toolchain is built from has its checksum in go.sum", (t) => {
  for (const program of ["pulumi", "language"]) {
    const modules =
      readFileSync(join(SETUP, `toolchain/${program}/go.mod`), "utf8").match(/^\s+?\S+\.\S+\/\S+ v\S+/gm) ?? [];
    const sums = readFileSync(join(SETUP, `toolchain/${program}/go.sum`), "utf8");
    t.true(modules.length > 10);
    t.deepEqual(
      modules.filter((module) => !sums.includes(`${module.trim()}/go.mod h1:`)),
      [],
    );
  }
});

test("an unreachable site is asked again after an hour, and after the clock was set back", (t) => {
  const hour = 60 * 60 * 1000;
  t.false(stillRemembered(5 * hour, undefined));
  t.true(stillRemembered(5 * hour, 5 * hour - 1));
  t.false(stillRemembered(5 * hour, 4 * hour));
  t.false(stillRemembered(5 * hour, 6 * hour));
});

test("results are counted as the Test Anything Protocol means them", (t) => {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const lines = [
    "TAP version 13",
    "ok 1 - a",
    "not ok 2 - b",
    "ok 3 - c # SKIP",
    "not ok 4 - d # TODO",
    "  ok 5 - nested",
    "# pass 9",
    "1..4",
  ];
  t.deepEqual(
    lines.filter((line) => countLine(counts, line)),
    ["ok 1 - a", "not ok 2 - b", "ok 3 - c # SKIP", "not ok 4 - d # TODO"],
  );
  t.deepEqual(counts, { passed: 1, failed: 1, skipped: 2 });
  t.is(summary(counts), "1 passed, 1 failed, 2 skipped");
  t.is(summary({ passed: 3, failed: 0, skipped: 0 }), "3 passed, 0 failed");
});

test("a failure is told again with its diagnostics, and nothing else is", (t) => {
  const reader = failureReader();
  const failure = ["not ok 2 - b", "  ---", "    message: boo", "  ..."];
  const long = ["not ok 5 - e", ...Array.from({ length: 100 }, (_, line) => `    ${line}`)];
  const lines = ["ok 1 - a", ...failure, "# a log", "not ok 3 - c # TODO", "  ---", "ok 4 - d", ...long, "1..5"];
  for (const line of lines) reader.read(line);
  const told = reader.told();
  t.deepEqual(told.slice(0, failure.length), failure);
  t.is(told[failure.length], "not ok 5 - e");
  t.is(told.length, failure.length + 30);
});

test("shell scripts are known by their name or their first line", (t) => {
  t.true(isShell("templates/run.sh", ""));
  t.true(isShell(".ci/run", "#!/usr/bin/env bash\n"));
  t.true(isShell("twofold", "#!/bin/sh\n"));
  t.false(isShell("x", "#!/usr/bin/env node\n"));
  t.false(isShell("LICENSE", "Apache License"));
});

test("every variable of twofold's own that is read anywhere stands in environment.mjs, and no other", (t) => {
  const listed = readFileSync(join(SETUP, "environment.mjs"), "utf8").matchAll(/^ \* \| (TWOFOLD_\w+) /gm);
  const read = ["scripts", "stacks", "components", "templates", "test"].flatMap((directory) =>
    readdirSync(join(SETUP, "../..", directory), { recursive: true, encoding: "utf8" })
      .filter((file) => /\.(ts|mjs)$/.test(file))
      .flatMap((file) => [
        ...readFileSync(join(SETUP, "../..", directory, file), "utf8").matchAll(/process\.env\.(TWOFOLD_\w+)/g),
      ]),
  );
  const names = (matches: Iterable<RegExpMatchArray>) => [...new Set([...matches].map(([, name]) => name))].sort();
  t.deepEqual(names(listed), names(read));
});

test("refuses a proof that is not there and names those that are", (t) => {
  t.throws(() => namedFile("stacks/labs", ".yaml", "nope", "npm run prove -- NAME"), {
    message: /no 'nope'[\s\S]*default/,
  });
  t.is(namedFile("stacks/labs", ".yaml", "default", ""), "stacks/labs/default.yaml");
});
