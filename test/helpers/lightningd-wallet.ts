/** Reads a wallet file of lightningd without touching it: from a copy of the database and of its journals. */
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

export interface WalletContent {
  dataVersion: number;
  /** The node's public key, or undefined in a wallet that was never claimed. */
  nodeId: string | undefined;
  /** Labels of all invoices, in the order of their making. */
  labels: string[];
}

/** Reads the last committed state; a hot journal is rolled back in the copy only. */
export function readWallet(path: string): WalletContent {
  const directory = mkdtempSync(join(tmpdir(), "twofold-wallet-"));
  try {
    const copy = join(directory, "wallet");
    for (const suffix of ["", "-journal", "-wal"])
      if (existsSync(path + suffix)) copyFileSync(path + suffix, copy + suffix);
    const database = new DatabaseSync(copy);
    try {
      const version = database.prepare("SELECT intval FROM vars WHERE name = 'data_version'").get();
      const owner = database.prepare("SELECT lower(hex(blobval)) AS hex FROM vars WHERE name = 'node_id'").get();
      const invoices = database.prepare("SELECT label FROM invoices ORDER BY id").all();
      return {
        dataVersion: Number(version?.intval),
        nodeId: owner === undefined ? undefined : String(owner.hex),
        labels: invoices.map((row) => String(row.label)),
      };
    } finally {
      database.close();
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** "wal" or "delete", from bytes 18 and 19 of the header (sqlite.org/fileformat.html, "File format version numbers"). */
export function journalModeOf(path: string): "wal" | "delete" {
  const header = readFileSync(path).subarray(18, 20);
  return header[0] === 2 && header[1] === 2 ? "wal" : "delete";
}

/** Puts an empty database in WAL mode in place, as twofold does before a node's first start. */
export function createEmptyWal(path: string): void {
  const database = new DatabaseSync(path);
  database.exec("PRAGMA journal_mode = WAL");
  database.close();
}
