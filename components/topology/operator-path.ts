/** Files of the operator's machine that a config names. */
import { homedir } from "node:os";
import { resolve } from "node:path";

/** The project's folder, with Pulumi.yaml. */
const PROJECT = resolve(import.meta.dirname, "../..");

/** Absolute path of a file named in a stack's config: `~/` is the home directory, anything relative starts at the project's folder. */
export function operatorPath(path: string): string {
  return path.startsWith("~/") ? resolve(homedir(), path.slice(2)) : resolve(PROJECT, path);
}
