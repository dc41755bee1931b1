/** The key with which a node's host reaches its replica. The private half never leaves the host. */
import { rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { makeDirectory, setOwnership, syncDirectory } from "../files.ts";
import { ROOT_DIRECTORY, ROOT_FILE } from "../planning.ts";
import { must } from "../process.ts";
import { readText } from "../read.ts";

/** Same place as in the document's `remote.identityFile`; root's, because root makes the mount. */
export const REPLICA_KEY = "/etc/twofold/keys/replica";
export const KEY_OWNERSHIP = { owner: "root", group: "root", mode: "0400" } as const;

/** Makes a key if there is none. The private half gets its name last: a key that is there is whole. */
export async function ensureKey(path: string, comment: string): Promise<void> {
  if ((await readText(path)) !== undefined) return;
  for (const directory of [dirname(dirname(path)), dirname(path)]) await makeDirectory(directory, ROOT_DIRECTORY);
  const temporary = `${path}.new`;
  for (const file of [temporary, `${temporary}.pub`]) await rm(file, { force: true });
  await must("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", temporary]);
  await setOwnership(temporary, KEY_OWNERSHIP);
  await setOwnership(`${temporary}.pub`, ROOT_FILE);
  await rename(`${temporary}.pub`, `${path}.pub`);
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}
