/** Runs shellcheck over every shell script of the project, named so or not. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./environment.mjs";
import { isMain, runMain, SetupError } from "./errors.mjs";
import { ensurePackages } from "./packages.mjs";
import { attempt, run, which } from "./run.mjs";

/**
 * Whether a file is a shell script, by its name or its first line.
 * @param {string} path @param {string} start
 */
export function isShell(path, start) {
  return path.endsWith(".sh") || /^#!\s*\/(usr\/)?bin\/(env )?(ba|da)?sh\b/.test(start);
}

/** @returns {Promise<string[]>} */
async function shellScripts() {
  // Untracked files too: what is about to be committed is to be checked before.
  const listing = await run("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: ROOT });
  return [...new Set(listing.split("\0"))].filter((path) => {
    if (path === "" || /\.(ts|mjs|js|json|md|yaml|sum|mod|go)$/.test(path)) return false;
    try {
      return isShell(path, readFileSync(join(ROOT, path), "utf8").slice(0, 64));
    } catch {
      return false; // tracked and removed, or a link to a directory
    }
  });
}

/**
 * @returns {Promise<{ status: "passed" | "failed" | "skipped", output: string }>} Skipped without shellcheck and a way to install it.
 */
export async function lintShell() {
  if (!which("shellcheck")) {
    try {
      await ensurePackages(["shellcheck"], "shell scripts are checked with it", console.log);
    } catch (error) {
      if (!(error instanceof SetupError)) throw error;
      return { status: "skipped", output: error.message };
    }
  }
  const scripts = await shellScripts();
  const { status, stdout, stderr } = await attempt("shellcheck", scripts, { cwd: ROOT });
  return { status: status === 0 ? "passed" : "failed", output: stdout + stderr || `${scripts.length} scripts` };
}

if (isMain(import.meta.url)) {
  await runMain(async () => {
    const { status, output } = await lintShell();
    console.log(`shellcheck ${status}: ${output}`);
    return status === "failed" ? 1 : 0;
  });
}
