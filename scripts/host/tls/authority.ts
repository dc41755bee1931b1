/** The cluster's authority: a key that never leaves its host, and the certificate over it. */
import { randomBytes } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { syncDirectory, writeFileDurably } from "../files.ts";
import { ROOT_FILE } from "../planning.ts";
import { makeAuthority, makeKey } from "./openssl.ts";

export interface AuthorityFiles {
  key: string;
  certificate: string;
}

/**
 * Makes the authority if there is none. Hosts ask all at once, and two keys for one cluster would make two halves that refuse each other:
 * so key and certificate are made aside and come into their place together, by a rename that fails where another was first.
 */
export async function ensureAuthority(directory: string, cluster: string): Promise<AuthorityFiles> {
  const files = { key: join(directory, "ca.key"), certificate: join(directory, "ca.crt") };
  const aside = join(dirname(directory), `.${basename(directory)}-${randomBytes(6).toString("hex")}.twofold-new`);
  if (await isThere(files.certificate)) return files;
  try {
    await mkdir(aside, { mode: 0o700 });
    const key = join(aside, basename(files.key));
    await makeKey(key);
    await sync(key);
    const certificate = await makeAuthority(key, `twofold ${cluster}`);
    await writeFileDurably(join(aside, basename(files.certificate)), certificate, ROOT_FILE);
    await rename(aside, directory);
    await syncDirectory(dirname(directory));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOTEMPTY" && code !== "EEXIST") throw error;
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
  return files;
}

async function sync(path: string): Promise<void> {
  const file = await open(path);
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

async function isThere(path: string): Promise<boolean> {
  return open(path).then(
    async (file) => {
      await file.close();
      return true;
    },
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return false;
      throw error;
    },
  );
}
