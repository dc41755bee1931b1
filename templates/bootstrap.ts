/** The script that makes a host ready for the host program. */
import { fillTemplate, loadTemplate } from "./load.ts";

/** POSIX sh, to be run as `sh -s -- MACHINE` with this text as stdin; holds the launcher. */
export function renderBootstrap(): string {
  return fillTemplate("bootstrap.sh", { launcher: loadTemplate("run.sh").trimEnd() });
}
