/** The gate and all that reads the wallet work as the node's user: root's reach is not needed, and root's files would be in the way. */

import { spawn } from "node:child_process";
import { EXIT } from "../contract.ts";
import { must, type Ran, type RunOptions, run } from "../process.ts";

/**
 * Runs this very command once more as the node's user, if this process is root, and returns its status; undefined for the node's user
 * itself. Another process, because Node does not let one give up root (CVE-2024-22017).
 */
export async function handOver(user: string, group: string): Promise<number | undefined> {
  if (process.geteuid?.() !== 0) return undefined;
  const [command, args] = asUser(user, group, process.execPath, process.argv.slice(1));
  const child = spawn(command, args, { stdio: "inherit" });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? EXIT.failed));
  });
}

const asUser = (user: string, group: string, command: string, args: readonly string[]): [string, string[]] => [
  "setpriv",
  [`--reuid=${user}`, `--regid=${group}`, "--init-groups", "--", command, ...args],
];

/** Runs a program as another user, from root. @throws {CommandFailed} */
export function mustAs(user: string, group: string, command: string, args: readonly string[]): Promise<string> {
  return must(...asUser(user, group, command, args));
}

/** The same for a program whose status is an answer. */
export function runAs(
  user: string,
  group: string,
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ran> {
  return run(...asUser(user, group, command, args), options);
}
