/** The parts of the lab daemon and of the lab's chain that the contract suite does not reach. */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import test from "ava";
import fc from "fast-check";
import { answer, GENESIS_BLOCK } from "../../scripts/standins/lightningd/chain-backend.ts";
import { Failure } from "../../scripts/standins/lightningd/failure.ts";
import { JsonFrames } from "../../scripts/standins/lightningd/json-frames.ts";
import { readOptions } from "../../scripts/standins/lightningd/options.ts";
import { openSqlite, parseDsn } from "../../scripts/standins/lightningd/sqlite.ts";
import { SCHEMA_VERSION, Wallet } from "../../scripts/standins/lightningd/wallet.ts";
import { install } from "../helpers/lightningd-daemon.ts";

const root = mkdtempSync(join(tmpdir(), "twofold-lab-lightningd-"));
test.after.always(() => rmSync(root, { recursive: true }));

const PACK = join(import.meta.dirname, "../../scripts/standins/lightningd/pack.ts");

// --- frames ---

test("a stream of JSON objects comes out whole, wherever it was cut", (t) => {
  const gap = fc.constantFrom("", " ", "\n\n", "\r\n");
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.object(), gap), { minLength: 1, maxLength: 5 }),
      fc.array(fc.nat(), { maxLength: 8 }),
      (messages, cuts) => {
        const texts = messages.map(([message]) => JSON.stringify(message));
        const bytes = Buffer.from(messages.map(([, space], index) => `${texts[index]}${space}`).join(""));
        const positions = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
        const frames = new JsonFrames();
        const received = [0, ...positions].flatMap((from, index) =>
          frames.push(bytes.subarray(from, positions[index] ?? bytes.length)),
        );
        t.deepEqual(received, texts);
      },
    ),
  );
});

test("refuses a stream in which no object begins", (t) => {
  t.throws(() => new JsonFrames().push(Buffer.from("getinfo")), { instanceOf: SyntaxError, message: /received "g"/ });
});

// --- options ---

function configFile(text: string): string {
  const path = join(mkdtempSync(join(root, "conf-")), "config");
  writeFileSync(path, text);
  return path;
}

test("the command line wins over the file, and the last of several wins", (t) => {
  const conf = configFile("alias=one\nalias=two\nrgb=aabbcc\n");
  t.is(readOptions([`--conf=${conf}`], root).value("alias"), "two");
  const options = readOptions([`--conf=${conf}`, "--alias", "three"], root);
  t.is(options.value("alias"), "three");
  t.is(options.value("rgb"), "aabbcc");
});

test("an option that may be repeated keeps every value in order", (t) => {
  const conf = configFile("log-file=a\nlog-file=b\n");
  const { all } = readOptions([`--conf=${conf}`, "--log-file=c"], root);
  t.deepEqual(
    all("log-file").map(({ value }) => value),
    ["a", "b", "c"],
  );
});

test("a network's flag stands for the option", (t) => {
  t.is(readOptions(["--regtest"], root).value("network"), "regtest");
  t.is(readOptions([], root).value("network"), "bitcoin");
});

test("refuses an option of bcli exactly when bcli is disabled", (t) => {
  const line = "bitcoin-rpcport=18443\n";
  t.notThrows(() => readOptions([`--conf=${configFile(line)}`], root));
  t.throws(() => readOptions([`--conf=${configFile(`${line}disable-plugin=bcli\n`)}`], root), {
    instanceOf: Failure,
    message: /line 1: bitcoin-rpcport=18443: unknown option/,
  });
});

// --- wallet ---

test("the wallet line is split at its first colon", (t) => {
  const path = fc.stringMatching(/^[a-z/.]+$/);
  fc.assert(
    fc.property(path, fc.stringMatching(/^[a-z/.:]+$/), (main, replica) => {
      t.deepEqual(parseDsn(`sqlite3://${main}:${replica}`), { main, replica });
    }),
  );
  t.deepEqual(parseDsn("sqlite3:///a/b"), { main: "/a/b", replica: undefined });
});

async function openWallet(path: string): Promise<Wallet> {
  return Wallet.open(await openSqlite(`sqlite3://${path}`), () => {});
}

const version = (database: DatabaseSync) =>
  database.prepare("SELECT intval FROM vars WHERE name = 'data_version'").get()?.intval;

test("an older schema is brought up to date in one commit and noted", async (t) => {
  const path = join(root, "older.sqlite3");
  (await openWallet(path)).close();
  const database = new DatabaseSync(path);
  t.teardown(() => database.close());
  database.exec(`UPDATE version SET version = ${SCHEMA_VERSION - 3}`);
  const before = Number(version(database));
  (await openWallet(path)).close();
  t.is(version(database), before + 1);
  t.is(database.prepare("SELECT version FROM version").get()?.version, SCHEMA_VERSION);
  t.truthy(database.prepare("SELECT 1 FROM db_upgrades WHERE upgrade_from = ?").get(SCHEMA_VERSION - 3));
  (await openWallet(path)).close();
  t.is(version(database), before + 1);
});

test("refuses a wallet of a newer schema, and one that the real lightningd made", async (t) => {
  const path = join(root, "newer.sqlite3");
  (await openWallet(path)).close();
  const database = new DatabaseSync(path);
  t.teardown(() => database.close());
  database.exec(`UPDATE version SET version = ${SCHEMA_VERSION + 1}`);
  await t.throwsAsync(openWallet(path), { instanceOf: Failure, message: /Refusing to migrate down/ });
  database.exec(`UPDATE version SET version = ${SCHEMA_VERSION}; CREATE TABLE channels (id)`);
  await t.throwsAsync(openWallet(path), { instanceOf: Failure, message: /made by the real lightningd/ });
});

test("refuses any network but regtest", (t) => {
  const { lightningd } = install("lab", mkdtempSync(join(root, "install-")));
  const directory = join(root, "mainnet");
  const { status, stderr } = spawnSync(lightningd, [`--lightning-dir=${directory}`, "--network=bitcoin"], {
    encoding: "utf8",
  });
  t.is(status, 1);
  t.regex(stderr, /regtest only, received network=bitcoin/);
});

// --- the chain ---

const doubleSha256 = (bytes: Buffer) =>
  createHash("sha256").update(createHash("sha256").update(bytes).digest()).digest();
const HEADER_BYTES = 80;

test("the chain's only block is regtest's genesis block, whole", (t) => {
  const block = Buffer.from(GENESIS_BLOCK, "hex");
  const { blockhash } = answer("getrawblockbyheight", { height: 0 }) as { blockhash: string };
  t.is(doubleSha256(block.subarray(0, HEADER_BYTES)).reverse().toString("hex"), blockhash);
  const merkleRoot = block.subarray(36, 68);
  const coinbase = block.subarray(HEADER_BYTES + 1);
  t.deepEqual(doubleSha256(coinbase), Buffer.from(merkleRoot));
  t.deepEqual(answer("getrawblockbyheight", [1]), { blockhash: null, block: null });
});

test("refuses to send a transaction", (t) => {
  t.like(answer("sendrawtransaction", { tx: "00" }), { success: false });
});

// --- the archive ---

test("the archive is laid out like a release and has the same bytes from whatever directory it is packed", (t) => {
  const pack = (name: string, cwd: string) => {
    const out = join(root, name);
    execFileSync(process.execPath, [PACK, out], { cwd });
    return out;
  };
  const first = pack("first.tar.xz", root);
  const second = pack("second.tar.xz", "/");
  t.true(readFileSync(first).equals(readFileSync(second)));
  const listed = execFileSync("tar", ["-tvJf", first], { encoding: "utf8" }).trim().split("\n");
  const programs = listed.filter((line) => line.startsWith("-rwxr-xr-x 0/0")).map((line) => line.split(" ").at(-1));
  t.deepEqual(programs, ["usr/bin/lightning-cli", "usr/bin/lightning-hsmtool", "usr/bin/lightningd"]);
  t.true(listed.some((line) => line.endsWith("usr/libexec/c-lightning/")));
});
