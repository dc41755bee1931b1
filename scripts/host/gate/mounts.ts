/** Whether a declared mount is really there. */
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { codeOf } from "./copy.ts";

/**
 * The mount points of `paths` at which nothing is mounted.
 *
 * Asked by device number and not by mountinfo(5): inside a unit with ProtectSystem=strict every path of ReadWritePaths= is a mount
 * point, of the empty directory if the volume isn't mounted.
 */
export async function notMounted(paths: string[]): Promise<string[]> {
  const missing: string[] = [];
  for (const path of paths) {
    try {
      const [here, above] = await Promise.all([stat(path), stat(dirname(path))]);
      if (here.dev === above.dev) missing.push(path);
    } catch (error) {
      // A dead network mount answers ENOTCONN and the like; a missing directory can't have a mount.
      if (codeOf(error) === undefined) throw error;
      missing.push(path);
    }
  }
  return missing;
}
