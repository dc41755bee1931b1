/**
 * Public keys that were brought here from other hosts (`replica-authorize`, `witness-authorize`): what belongs into an authorized_keys
 * file, so that one which was removed or got another key is seen and put back. Apart from that file, which is what may drift.
 */
import { join } from "node:path";
import { publicKeyOf } from "../../templates/witness.ts";
import { STATE_DIRECTORY } from "./contract.ts";
import { ensureOwnDirectory, writeFileDurably } from "./files.ts";
import { ROOT_FILE } from "./planning.ts";
import { readText } from "./read.ts";

const DIRECTORY = join(STATE_DIRECTORY, "brought-keys");
const fileOf = (name: string) => join(DIRECTORY, `${name}.pub`);

/** The key that may log in as `name`, undefined before it was brought. */
export async function readBroughtKey(name: string): Promise<string | undefined> {
  return publicKeyOf((await readText(fileOf(name))) ?? "");
}

/** Written last, after the authorized_keys file and the end of the former key's sessions: until then bringing the key is not done. */
export async function recordBroughtKey(name: string, key: string): Promise<void> {
  if ((await readBroughtKey(name)) === key) return;
  await ensureOwnDirectory(STATE_DIRECTORY);
  await ensureOwnDirectory(DIRECTORY);
  await writeFileDurably(fileOf(name), `${key}\n`, ROOT_FILE);
}
