/** The project's npm packages, Node 24 among them: there and as the lock file says, else `npm ci`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { NODE, ROOT } from "./environment.mjs";
import { SetupError } from "./errors.mjs";
import { withLock } from "./lock.mjs";
import { thinned } from "./progress.mjs";
import { attempt, isExecutable } from "./run.mjs";

/** @typedef {{ packages: Record<string, { version?: string, optional?: boolean, devOptional?: boolean, peer?: boolean }> }} Lock */

/**
 * What differs between package-lock.json and npm's own record of what it installed, as sentences; empty if nothing does.
 * @param {Lock} wanted @param {Lock} installed node_modules/.package-lock.json, which npm writes last.
 * @returns {string[]}
 */
export function lockDifferences(wanted, installed) {
  const differences = [];
  for (const [path, { version, optional }] of Object.entries(wanted.packages)) {
    if (path === "") continue;
    const there = installed.packages[path];
    // Optional packages are mostly builds for other platforms.
    if (there === undefined && !optional) differences.push(`${path} is missing`);
    if (there !== undefined && there.version !== version) {
      differences.push(`${path} is ${there.version}, wanted ${version}`);
    }
  }
  for (const path of Object.keys(installed.packages)) {
    if (wanted.packages[path] === undefined) differences.push(`${path} is not in the lock file`);
  }
  return differences;
}

/** @returns {string[]} Why `npm ci` is needed; empty if it is not. */
function reasons() {
  const wanted = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8"));
  let installed;
  try {
    installed = JSON.parse(readFileSync(join(ROOT, "node_modules/.package-lock.json"), "utf8"));
  } catch {
    return ["node_modules is missing or half-made"];
  }
  const differences = lockDifferences(wanted, installed);
  if (!isExecutable(NODE)) differences.push(`${NODE} is missing: its install script did not run`);
  return differences;
}

/** @param {(line: string) => void} say */
export async function ensureDependencies(say) {
  if (reasons().length === 0) return say("node_modules matches the lock file");
  await withLock(join(ROOT, ".build/npm-ci.lock"), say, async () => {
    const why = reasons(); // another set-up may have done it meanwhile
    if (why.length === 0) return;
    say(`npm ci, because ${why[0]}${why.length > 1 ? ` (and ${why.length - 1} more)` : ""}`);
    const { status, stderr } = await attempt("npm", ["ci", "--no-audit", "--no-fund"], {
      cwd: ROOT,
      line: thinned(say),
    });
    if (status === 0) return;
    throw new SetupError({
      what: "npm ci failed",
      // npm tells the cause first and its usage after it.
      received: stderr
        .split("\n")
        .filter((line) => /^npm error ./.test(line))
        .slice(0, 8)
        .join("\n    "),
      why: "the toolchain and the verbs use the packages that package-lock.json pins",
      fix: "check that npm's registry can be reached and that the disk has 1 GB free, then run it again",
    });
  });
}
