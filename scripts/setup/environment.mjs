/**
 * Every environment variable that set-up, lab and tests read, and the places that follow from them.
 *
 * | variable                     | meaning                                                                                   |
 * | ---------------------------- | ----------------------------------------------------------------------------------------- |
 * | TWOFOLD_LAB_ID               | a word that makes a separate instance of a lab (stack `lab-NAME-ID`), for runs side by side |
 * | TWOFOLD_LAB_DEBIAN           | 13 (default) or 12: the Debian release of a lab's hosts                                   |
 * | TWOFOLD_LIGHTNINGD_ARCHIVE   | archive of the real lightningd, laid out like its release, added to every test that starts one |
 * | TWOFOLD_SEED                 | repeats the faults of a proof: their order, moments and delays; each run prints its own    |
 * | TWOFOLD_CUTS                 | faults of each kind of topology in `npm run prove -- two-copies` (default 100)            |
 * | TWOFOLD_RUNS                 | how often `npm run prove -- labs` (default 10) and `-- postgres` (default 3) do each thing |
 * | TWOFOLD_ROUNDS               | rounds of `npm run bench -- postgres` (default 5)                                         |
 * | TWOFOLD_LINES                | set: `npm run bench -- postgres` prints the journal of each gap as well                   |
 * | TWOFOLD_RECORD_PROOFS        | set by `npm run prove`: passes go into components/topology/proofs.json                    |
 * | TWOFOLD_OFFICIAL_PLUGINS     | directory with the official provider plugins, added to the stand-ins' conformance test    |
 * | XDG_CACHE_HOME               | caches go to `$XDG_CACHE_HOME/twofold` (default ~/.cache)                                 |
 * | XDG_STATE_HOME               | labs go to `$XDG_STATE_HOME/twofold/labs` (default ~/.local/state)                        |
 * | PULUMI_HOME                  | Pulumi's own directory (default ~/.pulumi)                                                |
 * | DOCKER_HOST, DOCKER_CONTEXT  | which Docker engine, as for the docker command                                            |
 */
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
/** Node 24, which runs TypeScript as it is; put there by `npm ci`. */
export const NODE = join(ROOT, "node_modules/node/bin/node");

/** @param {string} variable @param {string} fallback Directory below the home directory. */
function base(variable, fallback) {
  // An XDG path that isn't absolute is to be ignored (XDG Base Directory Specification).
  const value = process.env[variable];
  return value?.startsWith("/") ? value : join(homedir(), fallback);
}

/** What can be fetched or made again. */
export const cacheDirectory = () => join(base("XDG_CACHE_HOME", ".cache"), "twofold");
/** What belongs to no checkout and can't be made again. */
export const stateDirectory = () => join(base("XDG_STATE_HOME", ".local/state"), "twofold");
export const labsDirectory = () => join(stateDirectory(), "labs");
export const pulumiHome = () => resolve(process.env.PULUMI_HOME || join(homedir(), ".pulumi"));
