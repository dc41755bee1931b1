/**
 * The wallet: the tables that the lab needs, with Core Lightning's names and columns, and `data_version` as its optimistic lock: plus one
 * in each commit that changes anything, and the end of the daemon if somebody else changed it meanwhile (db/exec.c).
 */
import { createHash, randomBytes } from "node:crypto";
import { Failure, STATUS } from "./failure.ts";
import type { Database } from "./sqlite.ts";

/** `version.version` in a wallet that Core Lightning v26.06.6 made. */
export const SCHEMA_VERSION = 282;
export const VERSION = "v26.06.6-lab";

/** The regtest genesis block, in the byte order in which a block header holds it. */
export const REGTEST_GENESIS = "06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f";

const TABLES = [
  "CREATE TABLE version (version INTEGER)",
  "CREATE TABLE vars (name TEXT, val TEXT, intval INTEGER, blobval BLOB, PRIMARY KEY (name))",
  "CREATE TABLE db_upgrades (upgrade_from INTEGER, lightning_version TEXT)",
  `CREATE TABLE invoices (id INTEGER, state INTEGER, msatoshi INTEGER, payment_hash BLOB, payment_key BLOB, label TEXT,
    expiry_time INTEGER, bolt11 TEXT, description TEXT, PRIMARY KEY (id), UNIQUE (label), UNIQUE (payment_hash))`,
];

/** One day in seconds, times seven: lightningd's default expiry of an invoice. */
const DEFAULT_EXPIRY_S = 7 * 24 * 3600;
const UNPAID = 0;

export interface NewInvoice {
  /** Millisatoshi, or undefined for "any". */
  amountMsat: bigint | undefined;
  label: string;
  description: string;
  expirySeconds: number | undefined;
}

export interface InvoiceRow {
  id: bigint;
  payment_hash: string;
  msatoshi: bigint | null;
  label: string;
  expiry_time: bigint;
  bolt11: string;
  description: string;
}

export class Wallet {
  readonly #database: Database;
  #dataVersion: number;
  #dirty = false;

  private constructor(database: Database) {
    this.#database = database;
    this.#dataVersion = this.#intvar("data_version") ?? 0;
  }

  /** Brings the schema up to date, in one commit whatever the number of steps. Throws {@link Failure} for a wallet that is not the lab's. */
  static open(database: Database, log: (message: string) => void): Wallet {
    const wallet = new Wallet(database);
    const from = wallet.#schemaVersion();
    if (from === undefined) {
      log("Creating database");
      for (const table of TABLES) wallet.#write(table);
      wallet.#write("INSERT INTO version VALUES (?)", BigInt(SCHEMA_VERSION));
      wallet.#write("INSERT INTO vars (name, intval) VALUES ('data_version', 0)");
    } else {
      if (database.hasTable("channels"))
        throw new Failure(
          "This wallet was made by the real lightningd; the lab daemon knows no channels and would harm it. Start the real one.",
        );
      if (from > SCHEMA_VERSION)
        throw new Failure(`Refusing to migrate down from version ${from} to ${SCHEMA_VERSION}`);
      if (from < SCHEMA_VERSION) {
        log(`Updating database from version ${from} to ${SCHEMA_VERSION}`);
        wallet.#write("UPDATE version SET version = ?", BigInt(SCHEMA_VERSION));
      }
    }
    if (from !== SCHEMA_VERSION) wallet.#write("INSERT INTO db_upgrades VALUES (?, ?)", BigInt(from ?? -1), VERSION);
    wallet.commit();
    if (from !== SCHEMA_VERSION) database.vacuum();
    return wallet;
  }

  /** Claims a new wallet for this chain and identity; a wallet of another one ends the daemon with status 30. */
  claim(nodeId: string): void {
    const genesis = this.#blobvar("genesis_hash");
    if (genesis === undefined) this.#setBlobvar("genesis_hash", REGTEST_GENESIS);
    else if (genesis !== REGTEST_GENESIS)
      throw mismatch(`Wallet blockchain hash does not match network blockchain hash: ${genesis}`);
    const owner = this.#blobvar("node_id");
    if (owner === undefined) this.#setBlobvar("node_id", nodeId);
    else if (owner !== nodeId)
      throw mismatch(`Wallet node_id does not match HSM: ${owner} != ${nodeId}. Did your hsm_secret change?`);
    this.commit();
  }

  /** Inserts an invoice; undefined if the label is taken. Durable after {@link commit} only. */
  createInvoice(invoice: NewInvoice): { row: InvoiceRow; paymentSecret: string } | undefined {
    if (this.listInvoices(invoice.label).length > 0) return undefined;
    const id = BigInt(this.#intvar("last_invoices_created_index") ?? 0) + 1n;
    const preimage = randomBytes(32);
    const paymentHash = createHash("sha256").update(preimage).digest();
    const paymentSecret = createHash("sha256").update(preimage).update("payment secret").digest("hex");
    const row: InvoiceRow = {
      id,
      payment_hash: paymentHash.toString("hex"),
      msatoshi: invoice.amountMsat ?? null,
      label: invoice.label,
      expiry_time: BigInt(Math.floor(Date.now() / 1000) + (invoice.expirySeconds ?? DEFAULT_EXPIRY_S)),
      // Not a BOLT 11 string: nobody can pay a node without a chain, and a false one would only look as if.
      bolt11: `lnbcrt-lab-${paymentHash.toString("hex")}`,
      description: invoice.description,
    };
    this.#setIntvar("last_invoices_created_index", id);
    this.#write(
      `INSERT INTO invoices (id, payment_hash, payment_key, state, msatoshi, label, expiry_time, bolt11, description)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      id,
      paymentHash,
      preimage,
      BigInt(UNPAID),
      row.msatoshi,
      row.label,
      row.expiry_time,
      row.bolt11,
      row.description,
    );
    return { row, paymentSecret };
  }

  /** All invoices in the order of their making, or the one with this label. */
  listInvoices(label?: string): InvoiceRow[] {
    const columns = "id, lower(hex(payment_hash)) AS payment_hash, msatoshi, label, expiry_time, bolt11, description";
    const rows =
      label === undefined
        ? this.#database.all(`SELECT ${columns} FROM invoices ORDER BY id`)
        : this.#database.all(`SELECT ${columns} FROM invoices WHERE label = ?`, label);
    return rows as unknown as InvoiceRow[];
  }

  /** Makes all changes since the last commit durable, on main and then on the replica. */
  commit(): void {
    if (this.#dirty) {
      const changed = this.#database.run(
        "UPDATE vars SET intval = intval + 1 WHERE name = 'data_version' AND intval = ?",
        BigInt(this.#dataVersion),
      );
      if (changed !== 1)
        throw new Failure(
          "Optimistic lock on the database failed. There may be a concurrent access to the database. Aborting since concurrent access is unsafe.",
        );
      this.#dataVersion++;
    }
    this.#database.commit();
    this.#dirty = false;
  }

  close(): void {
    this.#database.close();
  }

  #write(sql: string, ...values: Parameters<Database["run"]>[1][]): number {
    this.#dirty = true;
    return this.#database.run(sql, ...values);
  }

  #schemaVersion(): number | undefined {
    try {
      return this.#database.all("SELECT version FROM version LIMIT 1")[0]?.version as number | undefined;
    } catch {
      return undefined; // No such table: a new database.
    }
  }

  #intvar(name: string): number | undefined {
    try {
      return this.#database.all("SELECT intval FROM vars WHERE name = ?", name)[0]?.intval as number | undefined;
    } catch {
      return undefined;
    }
  }

  #setIntvar(name: string, value: bigint): void {
    if (this.#write("UPDATE vars SET intval = ? WHERE name = ?", value, name) === 0)
      this.#write("INSERT INTO vars (name, intval) VALUES (?, ?)", name, value);
  }

  #blobvar(name: string): string | undefined {
    return this.#database.all("SELECT lower(hex(blobval)) AS hex FROM vars WHERE name = ?", name)[0]?.hex as
      | string
      | undefined;
  }

  #setBlobvar(name: string, hex: string): void {
    this.#write("INSERT INTO vars (name, blobval) VALUES (?, ?)", name, Buffer.from(hex, "hex"));
  }
}

function mismatch(message: string): Failure {
  return new Failure(`${message}\nWallet sanity check failed.`, STATUS.walletMismatch);
}
