/** Where this machine keeps what belongs to no checkout. */
import { homedir } from "node:os";
import { join } from "node:path";

/** `$XDG_STATE_HOME/twofold` (XDG Base Directory Specification; `~/.local/state` if unset). */
export function stateDirectory(): string {
  return join(process.env.XDG_STATE_HOME || join(homedir(), ".local/state"), "twofold");
}

/** The directory that holds one directory a lab (ARCHITECTURE.md, "The lab"). */
export function labsDirectory(): string {
  return join(stateDirectory(), "labs");
}
