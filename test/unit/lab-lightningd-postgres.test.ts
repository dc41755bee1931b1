import test from "ava";
import { literal, translate } from "../../scripts/standins/lightningd/postgres.ts";

test("values keep what they are, whatever is in them", (t) => {
  t.is(literal("it's \\ ?"), "'it''s \\ ?'");
  t.is(literal(null), "NULL");
  t.is(literal(7n), "7");
  t.is(literal(Buffer.from("00ff", "hex")), "'\\x00ff'::bytea");
});

test("a question mark in a value is no place for the next one", (t) => {
  t.is(translate("INSERT INTO t VALUES (?, ?)", ["?", 1n]), "INSERT INTO t VALUES ('?', 1)");
});

test("SQLite's words become PostgreSQL's", (t) => {
  t.is(translate("CREATE TABLE t (a INTEGER, b BLOB)", []), "CREATE TABLE t (a BIGINT, b BYTEA)");
  t.is(translate("SELECT lower(hex(blobval)) AS hex FROM vars", []), "SELECT encode(blobval, 'hex') AS hex FROM vars");
});

test("fails if a value is missing", (t) => {
  t.throws(() => translate("SELECT ?", []), { message: /missing/ });
});
