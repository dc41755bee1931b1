/** Files that are run by name. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./environment.mjs";
import { SetupError } from "./errors.mjs";

/**
 * @param {string} directory Below the checkout. @param {string} ending @param {string | undefined} name @param {string} usage
 * @returns {string} The file's path in the checkout.
 * @throws {SetupError} naming what there is.
 */
export function namedFile(directory, ending, name, usage) {
  const path = join(ROOT, directory);
  const known = existsSync(path)
    ? readdirSync(path)
        .filter((file) => file.endsWith(ending))
        .map((file) => file.slice(0, -ending.length))
        .sort()
    : [];
  if (name !== undefined && known.includes(name)) return `${directory}/${name}${ending}`;
  throw new SetupError({
    what: name === undefined ? "a name is needed" : `there is no '${name}'`,
    received: name ?? "none",
    why: `each is a file ${directory}/NAME${ending}`,
    fix: `${usage}, with one of: ${known.join(", ") || "(there are none yet)"}`,
  });
}
