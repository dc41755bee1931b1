/** The gate and all that reads the wallet work as the node's user: root's reach is not needed, and root's files would be in the way. */

import { must, type Ran, run } from "../process.ts";
import { accountIds } from "../read.ts";

/** Gives up root for good, if this process has it. The document comes from a root-owned file. */
export async function becomeUser(user: string, group: string): Promise<void> {
  if (process.geteuid?.() !== 0) return;
  const { uid, gid } = await accountIds({ owner: user, group });
  process.setgroups?.([gid]);
  process.setgid?.(gid);
  process.setuid?.(uid);
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
export function runAs(user: string, group: string, command: string, args: readonly string[]): Promise<Ran> {
  return run(...asUser(user, group, command, args));
}
