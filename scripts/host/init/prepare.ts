/** The empty database in which a new node begins. */
import { open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { SqliteNodeDocument } from "../contract.ts";
import { syncDirectory } from "../files.ts";
import { mustAs } from "../gate/account.ts";
import { readJournalMode, SQLITE_HEADER_BYTES } from "../lightningd/journal-mode.ts";

/**
 * Puts an empty database in WAL mode where main belongs, if nothing is there. lightningd takes it and stays in its mode, so the node's
 * first commit is already durable, and no conversion is needed later. With a rollback journal lightningd makes the file itself.
 */
export async function prepareMain(document: SqliteNodeDocument): Promise<void> {
  const { main, journalMode } = document.wallet;
  if (journalMode !== "wal" || (await sizeOf(main)) !== undefined) return;
  const { user, group } = document;
  const temporary = join(dirname(main), `.${basename(main)}.twofold-new`);
  await rm(temporary, { force: true });
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
  await rename(temporary, main);
  await syncDirectory(dirname(main));
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
