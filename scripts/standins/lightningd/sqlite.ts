/**
 * SQLite as Core Lightning uses it (db/db_sqlite3.c): a main file and at most one replica, no pragma but foreign_keys, a busy timeout on
 * main only. Each statement runs on main and then, with its values filled in, on the replica; main commits, then the replica, and only
 * then control returns. Any error of either is fatal.
 */
import { backup, DatabaseSync, type SQLInputValue } from "node:sqlite";
import { Failure } from "./failure.ts";

/** What the wallet needs of a database; PostgreSQL is the other one (postgres.ts). */
export interface Database {
  /** Opens the transaction at the first call of one; reads before it see the last commit. */
  run(sql: string, ...values: SQLInputValue[]): number;
  /** Rows of a query; throws if a table is missing. */
  all(sql: string, ...values: SQLInputValue[]): Record<string, unknown>[];
  hasTable(name: string): boolean;
  /** Commits main, then the replica. Does nothing if no statement ran. */
  commit(): void;
  vacuum(): void;
  close(): void;
}

/** Milliseconds for which main waits for another process's lock; the replica does not wait at all. */
const BUSY_TIMEOUT_MS = 60_000;
/** More pages than a database can have: the copy is made in one step, as lightningd makes it. */
const ALL_PAGES = 0x7fffffff;

const SCHEME = "sqlite3://";

/** Splits `sqlite3://MAIN[:REPLICA]` at the first colon. No MAIN is a temporary database to SQLite: lightningd starts, and forgets. */
export function parseDsn(dsn: string): { main: string; replica: string | undefined } {
  if (!dsn.includes("://")) throw new Failure(`Could not extract driver name from "${dsn}"`);
  if (!dsn.startsWith(SCHEME)) throw new Failure(`Unable to find DB driver for ${dsn}`);
  const paths = dsn.slice(SCHEME.length);
  const colon = paths.indexOf(":");
  if (colon < 0) return { main: paths, replica: undefined };
  return { main: paths.slice(0, colon), replica: paths.slice(colon + 1) };
}

function open(path: string, what: string): DatabaseSync {
  try {
    return new DatabaseSync(path, { enableForeignKeyConstraints: true });
  } catch (error) {
    throw new Failure(`failed to open ${what} ${path}: ${(error as Error).message}`);
  }
}

/** `data_version` of a file, or undefined where there is none to be read, for whatever reason. */
function dataVersion(database: DatabaseSync): bigint | undefined {
  try {
    const query = database.prepare("SELECT intval FROM vars WHERE name = 'data_version'");
    query.setReadBigInts(true);
    return query.get()?.intval as bigint | undefined;
  } catch {
    return undefined;
  }
}

/** Opens both files, creating what is missing. A replica of another `data_version` is overwritten with main: nothing asks which is newer. */
export async function openSqlite(dsn: string): Promise<Database> {
  const paths = parseDsn(dsn);
  const main = open(paths.main, "database");
  let replica: DatabaseSync | undefined;
  if (paths.replica !== undefined) {
    replica = open(paths.replica, "backup database");
    const version = dataVersion(main);
    if (version === undefined || version !== dataVersion(replica)) {
      replica.close();
      try {
        await backup(main, paths.replica, { rate: ALL_PAGES });
      } catch (error) {
        throw new Failure(`failed to copy database to ${paths.replica}: ${(error as Error).message}`);
      }
      replica = open(paths.replica, "backup database");
    }
  }
  main.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
  return new Sqlite(main, replica);
}

class Sqlite implements Database {
  readonly #main: DatabaseSync;
  readonly #replica: DatabaseSync | undefined;
  #inTransaction = false;

  constructor(main: DatabaseSync, replica: DatabaseSync | undefined) {
    this.#main = main;
    this.#replica = replica;
  }

  run(sql: string, ...values: SQLInputValue[]): number {
    if (!this.#inTransaction) {
      this.#main.exec("BEGIN TRANSACTION;");
      this.#inTransaction = true;
      this.#replicate("BEGIN TRANSACTION;");
    }
    const statement = this.#main.prepare(sql);
    const { changes } = statement.run(...values);
    this.#replicate(statement.expandedSQL);
    return Number(changes);
  }

  all(sql: string, ...values: SQLInputValue[]): Record<string, unknown>[] {
    return this.#main.prepare(sql).all(...values);
  }

  hasTable(name: string): boolean {
    return this.all("SELECT name FROM sqlite_master WHERE type = 'table' AND name = ?", name).length > 0;
  }

  commit(): void {
    if (!this.#inTransaction) return;
    this.#main.exec("COMMIT;");
    this.#replicate("COMMIT;");
    this.#inTransaction = false;
  }

  vacuum(): void {
    this.#main.exec("VACUUM;");
    this.#replicate("VACUUM;");
  }

  close(): void {
    this.#replica?.close();
    this.#main.close();
  }

  #replicate(sql: string): void {
    try {
      this.#replica?.exec(sql);
    } catch (error) {
      throw new Failure(`Failed to replicate query: ${(error as Error).message}: ${sql}`);
    }
  }
}
