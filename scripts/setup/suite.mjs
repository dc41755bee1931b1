/** Runs tests, proofs or benchmarks: the set-up that they need, then ava, then what was started is taken down. */
import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { ensureDependencies } from "./dependencies.mjs";
import { ensureEngine, leaveEngine } from "./engine.mjs";
import { cacheDirectory, NODE, ROOT } from "./environment.mjs";
import { SetupError } from "./errors.mjs";
import { hostImage } from "./image.mjs";
import { ensurePackages } from "./packages.mjs";
import { steps } from "./progress.mjs";
import { countLine, failureReader, summary } from "./tap.mjs";
import { ensureToolchain } from "./toolchain.mjs";

/** Programs that tests call on this machine. */
const PROGRAMS = ["btrfs-progs", "nftables", "openssh-client", "xz-utils"];

/**
 * @typedef {object} Suite
 * @property {string[]} parameters For ava: files, options.
 * @property {(counts: import("./tap.mjs").Counts) => Promise<void>} [before] Further checks, run once the packages are there.
 */

/**
 * Ends with a line `N passed, N failed`.
 * @param {Suite} suite
 * @returns {Promise<number>} The exit status: 0 if something passed and nothing failed.
 */
export async function runSuite({ parameters, before }) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const { step } = steps(before ? 6 : 5, console.log);
  try {
    await step("npm packages", ensureDependencies);
    if (before) await step("lint", () => before(counts));
    const toolchain = await step("Pulumi", ensureToolchain);
    await step("programs on this machine", (say) => ensurePackages(PROGRAMS, "the tests call them", say));
    await step("Docker engine", ensureEngine);
    await step("host image", hostImage);
    await ava(parameters, toolchain, counts);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.log(`not ok - set-up: ${error.message}`);
    counts.failed += 1;
  } finally {
    await leaveEngine(console.log);
  }
  console.log(`\n${summary(counts)}`);
  return counts.failed === 0 && counts.passed > 0 ? 0 : 1;
}

/**
 * @param {string[]} parameters @param {string} toolchain @param {import("./tap.mjs").Counts} counts Counted on.
 */
async function ava(parameters, toolchain, counts) {
  const child = spawn(NODE, [join(ROOT, "node_modules/ava/entrypoints/cli.js"), "--tap", ...parameters], {
    cwd: ROOT,
    env: {
      ...process.env,
      PATH: [toolchain, join(ROOT, "node_modules/.bin"), process.env.PATH ?? ""].join(delimiter),
      PULUMI_SKIP_UPDATE_CHECK: "true",
      // Every test file is a process of its own, and loads the same sources.
      NODE_COMPILE_CACHE: join(cacheDirectory(), "node"),
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  // Interrupted, ava ends its tests first, and this process then takes down what it started.
  const forward = (/** @type {NodeJS.Signals} */ signal) => child.kill(signal);
  process.on("SIGINT", forward).on("SIGTERM", forward);
  const started = Date.now();
  const failures = failureReader();
  createInterface({ input: child.stdout }).on("line", (line) => {
    const result = countLine(counts, line);
    failures.read(line);
    console.log(result ? `${((Date.now() - started) / 1000).toFixed(0).padStart(5)} s  ${line}` : line);
  });
  const failedBefore = counts.failed;
  const status = await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(code ?? signal));
  });
  process.off("SIGINT", forward).off("SIGTERM", forward);
  const told = failures.told();
  if (told.length > 0) console.log(`\nwhat failed:\n${told.join("\n")}`);
  // It may fail without a failed test: no test found, a file that can't be loaded, an interruption.
  if (status !== 0 && counts.failed === failedBefore) {
    console.log(`not ok - ava ended with ${status}`);
    counts.failed += 1;
  }
}
