/** The empty database in which a new node begins. */
import { link, open, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { SqliteNodeDocument } from "../contract.ts";
import { syncDirectory } from "../files.ts";
import { mustAs } from "../gate/account.ts";
import { codeOf } from "../gate/copy.ts";
import { readJournalMode, SQLITE_HEADER_BYTES } from "../lightningd/journal-mode.ts";

/**
 * Puts an empty database in WAL mode where main belongs, if nothing is there. lightningd takes it and stays in its mode, so the node's
 * first commit is already durable, and no conversion is needed later. With a rollback journal lightningd makes the file itself.
 * The caller holds the host lock.
 */
export async function prepareMain(document: SqliteNodeDocument): Promise<void> {
  const { main, journalMode } = document.wallet;
  if (journalMode !== "wal") return;
  const { user, group } = document;
  const temporary = join(dirname(main), `.${basename(main)}.twofold-new`);
  await rm(temporary, { force: true });
  if (await isThere(main)) return;
  const sql = ["-batch", "-bail", "-init", "/dev/null", temporary, "PRAGMA journal_mode = WAL"];
  await mustAs(user, group, "sqlite3", sql);
  const file = await open(temporary, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(SQLITE_HEADER_BYTES), 0, SQLITE_HEADER_BYTES, 0);
    const mode = readJournalMode(buffer.subarray(0, bytesRead));
    if (mode !== "wal")
      throw new Error(`sqlite3 made a database with journal mode ${mode}, expected wal: ${temporary}`);
    await file.chmod(0o600);
    await file.sync();
  } finally {
    await file.close();
  }
  // A link and not a rename, which would put the empty database over a wallet that has come to lie there meanwhile.
  await link(temporary, main).catch((error) => {
    if (codeOf(error) !== "EEXIST") throw error;
  });
  await rm(temporary);
  await syncDirectory(dirname(main));
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
}
