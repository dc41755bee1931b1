/**
 * `npm test [-- AVA-ARGUMENT…]`: format and lint, types, shell scripts, then the tests; ends with `N passed, N failed`.
 * Needs Node 20 and nothing else.
 */
import { join } from "node:path";
import { NODE, ROOT } from "./environment.mjs";
import { runMain } from "./errors.mjs";
import { lintShell } from "./lint-shell.mjs";
import { attempt } from "./run.mjs";
import { runSuite } from "./suite.mjs";

/** @param {import("./tap.mjs").Counts} counts */
async function lint(counts) {
  const checks = {
    "format and lint": () => program("@biomejs/biome/bin/biome", ["check", "."]),
    types: () => program("typescript/bin/tsc", ["--noEmit"]),
    "shell scripts": lintShell,
  };
  for (const [name, check] of Object.entries(checks)) {
    const { status, output } = await check();
    counts[status] += 1;
    console.log(`${status === "failed" ? "not ok" : "ok"} - ${name}${status === "skipped" ? " # SKIP" : ""}`);
    if (status !== "passed") console.log(output);
  }
}

/**
 * @param {string} file Below node_modules. @param {string[]} parameters
 * @returns {Promise<{ status: "passed" | "failed", output: string }>}
 */
async function program(file, parameters) {
  const { status, stdout, stderr } = await attempt(NODE, [join(ROOT, "node_modules", file), ...parameters], {
    cwd: ROOT,
  });
  return { status: status === 0 ? "passed" : "failed", output: stdout + stderr };
}

await runMain(() => runSuite({ parameters: process.argv.slice(2), before: lint }));
