/**
 * Debian packages that lab hosts have fetched before.
 *
 * Each host has a cache directory of its own, since apt locks it. Before a start it is filled with hard links from one
 * master cache, and what the host fetched is linked back. apt checks each package's digest, whoever put it there.
 */
import { copyFileSync, linkSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory } from "./environment.mjs";
import { codeOf } from "./errors.mjs";

/** The master cache, made if it isn't there. */
export function packageCache() {
  const directory = join(cacheDirectory(), "apt");
  mkdirSync(directory, { recursive: true });
  return directory;
}

/** @param {string} host The host's cache directory, made if it isn't there. */
export function seedPackages(host) {
  mkdirSync(host, { recursive: true });
  linkPackages(packageCache(), host);
}

/**
 * Keeps what a host has fetched for the next one. It is a cache: what can't be kept is fetched again.
 * @param {string} host @param {(line: string) => void} say
 */
export function harvestPackages(host, say) {
  try {
    linkPackages(host, packageCache());
  } catch (error) {
    say(`packages could not be kept for the next lab: ${/** @type {Error} */ (error).message}`);
  }
}

/**
 * Links every whole package (apt keeps unfinished ones in partial/) that the other directory lacks.
 * @param {string} from @param {string} to
 */
function linkPackages(from, to) {
  const there = new Set(readdirSync(to));
  for (const name of readdirSync(from)) {
    if (!name.endsWith(".deb") || there.has(name)) continue;
    try {
      linkSync(join(from, name), join(to, name));
    } catch (error) {
      if (codeOf(error) === "EEXIST") continue; // another lab was quicker
      if (codeOf(error) !== "EXDEV") throw error;
      copyWhole(join(from, name), join(to, name));
    }
  }
}

/** A copy that was interrupted, or found the disk full, must not stay under the package's name. @param {string} from @param {string} to */
function copyWhole(from, to) {
  const draft = `${to}.${process.pid}.partial`;
  try {
    copyFileSync(from, draft);
    renameSync(draft, to);
  } finally {
    rmSync(draft, { force: true });
  }
}
