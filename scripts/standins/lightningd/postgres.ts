/**
 * PostgreSQL as Core Lightning uses it (db/db_postgres.c): one connection, no reconnect, every statement waited for. The client is psql(1),
 * asked over two pipes and read without the event loop, as libpq is by lightningd. A connection that is lost is fatal.
 */
import { execFileSync, spawn } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SQLInputValue } from "node:sqlite";
import { Failure } from "./failure.ts";
import type { Database } from "./sqlite.ts";

/** Stands in front of psql's word on how a statement ended; no row begins with it. */
const END = "\u0001end";
const CHUNK = 65_536;

const WORDS = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"];

/** One end of a named pipe here, the other for the client, which alone then keeps it open. */
function pipe(path: string, own: number, client: number): { own: number; client: number } {
  execFileSync("mkfifo", ["--mode=0600", path]);
  // Opened for both first, so that neither of the others waits for its counterpart.
  const both = openSync(path, constants.O_RDWR);
  const ends = { own: openSync(path, own), client: openSync(path, client) };
  closeSync(both);
  return ends;
}

/** A value as PostgreSQL's lexer takes it with standard_conforming_strings. Pure. */
export function literal(value: SQLInputValue): string {
  if (value === null) return "NULL";
  if (typeof value === "string") return `'${value.replaceAll("'", "''")}'`;
  if (typeof value === "bigint" || typeof value === "number") return `${value}`;
  return `'\\x${Buffer.from(value as Uint8Array).toString("hex")}'::bytea`;
}

/** A statement of the wallet, written for SQLite, in PostgreSQL's words with its values filled in. Pure. */
export function translate(sql: string, values: readonly SQLInputValue[]): string {
  const rest = [...values];
  return sql
    .replace(/\bBLOB\b/g, "BYTEA")
    .replace(/\bINTEGER\b/g, "BIGINT")
    .replace(/lower\(hex\((\w+)\)\)/g, "encode($1, 'hex')")
    .replace(/\?/g, () => {
      const value = rest.shift();
      if (value === undefined) throw new Error(`a value is missing for ${sql}`);
      return literal(value);
    });
}

export function openPostgres(dsn: string): Database {
  const directory = mkdtempSync(join(tmpdir(), "lab-psql-"));
  const requests = pipe(join(directory, "requests"), constants.O_WRONLY, constants.O_RDONLY);
  const answers = pipe(join(directory, "answers"), constants.O_RDONLY, constants.O_WRONLY);
  rmSync(directory, { recursive: true });
  spawn("psql", [...WORDS, `--dbname=${dsn}`], { stdio: [requests.client, answers.client, "inherit"] })
    .on("error", () => {})
    .unref();
  closeSync(requests.client);
  closeSync(answers.client);
  const postgres = new Postgres(requests.own, answers.own);
  postgres.ask("SELECT 1", `Could not connect to ${dsn}`);
  return postgres;
}

class Postgres implements Database {
  readonly #requests: number;
  readonly #answers: number;
  #inTransaction = false;

  constructor(requests: number, answers: number) {
    this.#requests = requests;
    this.#answers = answers;
  }

  run(sql: string, ...values: SQLInputValue[]): number {
    if (!this.#inTransaction) {
      this.ask("BEGIN");
      this.#inTransaction = true;
    }
    return this.ask(translate(sql, values)).changes;
  }

  all(sql: string, ...values: SQLInputValue[]): Record<string, unknown>[] {
    const { text } = this.ask(`SELECT coalesce(json_agg(found), '[]') FROM (${translate(sql, values)}) AS found`);
    return JSON.parse(text) as Record<string, unknown>[];
  }

  hasTable(name: string): boolean {
    return this.ask(`SELECT to_regclass(${literal(`public.${name}`)}) IS NOT NULL`).text.trim() === "t";
  }

  commit(): void {
    if (!this.#inTransaction) return;
    this.ask("COMMIT", "Failed to commit DB transaction");
    this.#inTransaction = false;
  }

  vacuum(): void {
    this.ask("VACUUM FULL");
  }

  close(): void {
    closeSync(this.#requests);
    closeSync(this.#answers);
  }

  /** @throws {Failure} if the statement or the connection fails */
  ask(statement: string, doing = "query failed"): { text: string; changes: number } {
    const answer = this.#exchange(`${statement};\n\\echo ${END} :ERROR :ROW_COUNT :LAST_ERROR_MESSAGE\n`);
    if (answer === undefined) throw new Failure(`${doing}: the connection to the database is lost`);
    const at = answer.lastIndexOf(END);
    const [error, count = "0", ...message] = answer
      .slice(at + END.length)
      .trim()
      .split(" ");
    if (error !== "false") throw new Failure(`${doing}: ${message.join(" ")}: ${statement.slice(0, 120)}`);
    return { text: answer.slice(0, at), changes: Number(count) };
  }

  /** Everything up to the line that ends the answer; undefined if the client is gone. */
  #exchange(request: string): string | undefined {
    try {
      writeSync(this.#requests, request);
      const parts: Buffer[] = [];
      for (;;) {
        const chunk = Buffer.alloc(CHUNK);
        const length = readSync(this.#answers, chunk, 0, CHUNK, null);
        if (length === 0) return undefined;
        parts.push(chunk.subarray(0, length));
        const text = Buffer.concat(parts).toString("utf8");
        const end = text.lastIndexOf(END);
        if (end >= 0 && text.indexOf("\n", end) >= 0) return text;
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EPIPE") return undefined;
      throw error;
    }
  }
}
