/**
 * What twofold relies on in lightningd, the dangers included. The same sentences hold for the lab daemon and, with
 * TWOFOLD_LIGHTNINGD_ARCHIVE=ARCHIVE (laid out like an official release), for the real one.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import test, { type ExecutionContext } from "ava";
import { ConnectionLost, RpcFailure } from "../helpers/lightningd-client.ts";
import { Daemon, type Exit, type Installation, install } from "../helpers/lightningd-daemon.ts";
import { createEmptyWal, journalModeOf, readWallet } from "../helpers/lightningd-wallet.ts";

// Below /tmp whatever TMPDIR says: the RPC socket's path may have 107 bytes.
const root = mkdtempSync("/tmp/tf-");
const archive = process.env.TWOFOLD_LIGHTNINGD_ARCHIVE;
const installations = [install("lab", root)];
if (archive) installations.push(install("real", root, archive));

const running = new Set<Daemon>();

/** A place for one node: lightning-dir, main, and a directory for the replica beside it. */
interface Place {
  directory: string;
  network: string;
  main: string;
  replica: string;
  hsmSecret: string;
  pidFile: string;
  /** DSN with both files. */
  wallet: string;
}

let places = 0;
function newPlace(): Place {
  const base = join(root, String(places++));
  const directory = join(base, "l");
  const network = join(directory, "regtest");
  mkdirSync(join(base, "r"), { recursive: true });
  const main = join(network, "lightningd.sqlite3");
  const replica = join(base, "r", "lightningd.sqlite3");
  return {
    directory,
    network,
    main,
    replica,
    hsmSecret: join(network, "hsm_secret"),
    pidFile: join(directory, "lightningd-regtest.pid"),
    wallet: `sqlite3://${main}:${replica}`,
  };
}

interface Context {
  installation: Installation;
  place: Place;
  /** Starts a daemon at `place` with main and replica, and waits for it. */
  start(words?: string[]): Promise<Daemon>;
  /** Starts one that is expected to end by itself, within 60 s. */
  fail(words?: string[], wallet?: string): Promise<Exit>;
}

function contract(title: string, body: (t: ExecutionContext, context: Context) => Promise<void>): void {
  for (const installation of installations)
    test.serial(`${installation.kind} lightningd ${title}`, async (t) => {
      const place = newPlace();
      const remember = (daemon: Daemon) => {
        running.add(daemon);
        void daemon.exit.then(() => running.delete(daemon));
        return daemon;
      };
      await body(t, {
        installation,
        place,
        start: async (words = []) =>
          remember(await Daemon.start(installation, { directory: place.directory, wallet: place.wallet, words })),
        fail: (words = [], wallet = place.wallet) =>
          remember(Daemon.spawn(installation, { directory: place.directory, wallet, words })).ended(),
      });
    });
}

test.afterEach.always(async () => {
  for (const daemon of running) await daemon.kill();
});

test.after.always(() => {
  if (!archive) console.log("lightningd's contract: not proved with the real lightningd (TWOFOLD_LIGHTNINGD_ARCHIVE)");
  rmSync(root, { recursive: true, force: true });
});

const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);

async function invoices(daemon: Daemon, labels: string[]): Promise<void> {
  for (const label of labels) await daemon.client.invoice(label);
}

// --- a start in an empty place ---

contract(
  "makes its directory, an hsm_secret of mode 0400, a pid file and a private socket",
  async (t, { place, start }) => {
    const daemon = await start();
    t.is(mode(place.network), "700");
    t.is(mode(place.hsmSecret), "400");
    t.is(readFileSync(place.pidFile, "utf8"), `${daemon.process.pid}\n`);
    t.is(mode(daemon.socket), "600");
    t.true(existsSync(place.main));
    t.true(existsSync(place.replica));
  },
);

contract("says in getinfo who it is and where it lives", async (t, { installation, place, start }) => {
  const daemon = await start(["--alias=alice"]);
  const info = await daemon.client.getinfo();
  t.is(info.alias, "alice");
  t.is(info.network, "regtest");
  t.is(info["lightning-dir"], place.network);
  t.is(info.blockheight, 0);
  t.regex(info.version, /^v\d+\.\d+/);
  const asked = execFileSync(installation.hsmtool, ["getnodeid", place.hsmSecret], { encoding: "utf8" });
  t.is(asked, `${info.id}\n`);
  t.is(readWallet(place.main).nodeId, info.id);
  t.is(readWallet(place.replica).nodeId, info.id);
});

contract("takes relative paths of the wallet from the network directory", async (t, { installation, place }) => {
  mkdirSync(join(place.network, "copy"), { recursive: true });
  const wallet = "sqlite3://main.sqlite3:copy/main.sqlite3";
  const daemon = await Daemon.start(installation, { directory: place.directory, wallet });
  await daemon.stop();
  t.is(
    readWallet(join(place.network, "main.sqlite3")).dataVersion,
    readWallet(join(place.network, "copy/main.sqlite3")).dataVersion,
  );
});

contract(
  "uses lightningd.sqlite3 in the network directory without a wallet option",
  async (t, { installation, place }) => {
    const daemon = await Daemon.start(installation, { directory: place.directory });
    await daemon.client.invoice("a");
    await daemon.stop();
    t.deepEqual(readWallet(place.main).labels, ["a"]);
  },
);

// --- identity ---

const PLAIN_SECRET = Buffer.from(Array.from({ length: 32 }, (_, index) => index + 1));
const MNEMONIC_SECRET = Buffer.concat([Buffer.alloc(32), Buffer.from(`${"abandon ".repeat(11)}about`)]);

contract("derives the same node id from the same plain hsm_secret as any other", async (t, { place, start }) => {
  mkdirSync(place.network, { recursive: true });
  writeFileSync(place.hsmSecret, PLAIN_SECRET, { mode: 0o400 });
  const daemon = await start();
  t.is((await daemon.client.getinfo()).id, "037d8d1109836a88daf2b86d6e52e12351f9c274f597b78eca941525b309096ca8");
});

contract("derives the same node id from the same mnemonic hsm_secret as any other", async (t, { place, start }) => {
  mkdirSync(place.network, { recursive: true });
  writeFileSync(place.hsmSecret, MNEMONIC_SECRET, { mode: 0o400 });
  const daemon = await start();
  t.is((await daemon.client.getinfo()).id, "03653e90c1ce4660fd8505dd6d643356e93cfe202af109d382787639dd5890e87d");
});

contract("starts with an hsm_secret that everybody can read", async (t, { place, start }) => {
  await (await start()).stop();
  chmodSync(place.hsmSecret, 0o644);
  const daemon = await start();
  t.true(daemon.running);
});

for (const { name, content, status } of [
  { name: "is too short", content: Buffer.alloc(10, 1), status: 7 },
  { name: "is encrypted", content: Buffer.alloc(73, 1), status: 1 },
  { name: "is no mnemonic", content: Buffer.concat([Buffer.alloc(32), Buffer.from("not a mnemonic")]), status: 4 },
])
  contract(`fails with status ${status} on an hsm_secret that ${name}`, async (t, { place, fail }) => {
    mkdirSync(place.network, { recursive: true });
    writeFileSync(place.hsmSecret, content, { mode: 0o400 });
    t.is((await fail()).status, status);
    t.false(existsSync(place.main));
  });

contract("fails with status 30 on another node's hsm_secret, after the replica was overwritten", async (t, context) => {
  const { place, start, fail } = context;
  const first = await start();
  await invoices(first, ["a", "b"]);
  await first.stop();
  writeFileSync(`${place.replica}.new`, readFileSync(place.replica));
  const newer = new DatabaseSync(place.replica);
  newer.exec("UPDATE vars SET intval = intval + 7 WHERE name = 'data_version'");
  newer.close();
  rmSync(place.hsmSecret);
  writeFileSync(place.hsmSecret, PLAIN_SECRET, { mode: 0o400 });
  t.is((await fail()).status, 30);
  t.is(readWallet(place.replica).dataVersion, readWallet(place.main).dataVersion);
});

contract(
  "fails with status 30 on a missing hsm_secret beside a wallet, and leaves a new one behind",
  async (t, context) => {
    const { place, start, fail } = context;
    await (await start()).stop();
    const before = readFileSync(place.hsmSecret);
    rmSync(place.hsmSecret);
    t.is((await fail()).status, 30);
    t.false(before.equals(readFileSync(place.hsmSecret)));
  },
);

// --- commits ---

contract(
  "raises data_version by exactly one for each invoice, in main and in the replica",
  async (t, { place, start }) => {
    const daemon = await start();
    await daemon.client.invoice("first");
    const before = readWallet(place.main).dataVersion;
    for (let count = 1; count <= 5; count++) {
      await daemon.client.invoice(`next-${count}`);
      t.is(readWallet(place.main).dataVersion, before + count);
      t.is(readWallet(place.replica).dataVersion, before + count);
    }
  },
);

contract("does not change the wallet for a request that only reads", async (t, { place, start }) => {
  const daemon = await start();
  await daemon.client.invoice("a");
  const before = readWallet(place.main).dataVersion;
  await daemon.client.listinvoices();
  await daemon.client.getinfo();
  await t.throwsAsync(daemon.client.invoice("a"), { instanceOf: RpcFailure, code: 900 });
  t.is(readWallet(place.main).dataVersion, before);
});

for (const kind of ["rollback", "WAL"])
  contract(
    `has every acknowledged invoice in both copies after kill -9, with a ${kind} journal`,
    async (t, context) => {
      const { place, start } = context;
      if (kind === "WAL") {
        mkdirSync(place.network, { recursive: true });
        createEmptyWal(place.main);
      }
      const daemon = await start();
      const acknowledged: string[] = [];
      const writing = (async () => {
        for (let number = 0; ; number++) {
          await daemon.client.invoice(`w-${number}`);
          acknowledged.push(`w-${number}`);
          if (number === 40) daemon.process.kill("SIGKILL");
        }
      })();
      await t.throwsAsync(writing, { instanceOf: ConnectionLost });
      t.is((await daemon.exit).signal, "SIGKILL");
      const main = readWallet(place.main);
      const replica = readWallet(place.replica);
      t.true(acknowledged.length > 40);
      t.deepEqual(
        acknowledged.filter((label) => !main.labels.includes(label) || !replica.labels.includes(label)),
        [],
      );
      t.true([0, 1].includes(main.dataVersion - replica.dataVersion), `${main.dataVersion} and ${replica.dataVersion}`);

      const again = await start();
      const listed = (await again.client.listinvoices()).map((invoice) => invoice.label);
      t.deepEqual(
        acknowledged.filter((label) => !listed.includes(label)),
        [],
      );
    },
  );

contract("keeps identity, invoices and data_version over a stop and a start", async (t, { place, start }) => {
  const first = await start();
  const { id } = await first.client.getinfo();
  await invoices(first, ["a", "b"]);
  await first.stop();
  const before = readWallet(place.main).dataVersion;
  const second = await start();
  t.is((await second.client.getinfo()).id, id);
  t.deepEqual(
    (await second.client.listinvoices()).map((invoice) => invoice.label),
    ["a", "b"],
  );
  t.true(readWallet(place.main).dataVersion >= before);
});

// --- journal modes ---

contract("takes the rollback journal by default, for main and replica", async (t, { place, start }) => {
  await (await start()).stop();
  t.is(journalModeOf(place.main), "delete");
  t.is(journalModeOf(place.replica), "delete");
});

contract("keeps to WAL in an empty database put in place before, and carries it to the replica", async (t, context) => {
  const { place, start } = context;
  mkdirSync(place.network, { recursive: true });
  createEmptyWal(place.main);
  const daemon = await start();
  await daemon.client.invoice("a");
  t.is(journalModeOf(place.main), "wal");
  t.is(journalModeOf(place.replica), "wal");
  await daemon.stop();
  t.is(journalModeOf(place.main), "wal");
  t.is(journalModeOf(place.replica), "wal");
  t.deepEqual(readWallet(place.replica).labels, ["a"]);
});

// --- the replica at start: nothing asks which copy is newer ---

contract("overwrites the replica with a new wallet when main is missing", async (t, { place, start }) => {
  const first = await start();
  const { id } = await first.client.getinfo();
  await invoices(first, ["a", "b", "c"]);
  await first.stop();
  rmSync(place.main);
  const second = await start();
  t.is((await second.client.getinfo()).id, id);
  t.deepEqual(await second.client.listinvoices(), []);
  t.deepEqual(readWallet(place.replica).labels, []);
});

contract("becomes another node when main and hsm_secret are missing", async (t, { place, start }) => {
  const first = await start();
  const { id } = await first.client.getinfo();
  await invoices(first, ["a"]);
  await first.stop();
  rmSync(place.network, { recursive: true });
  const second = await start();
  t.not((await second.client.getinfo()).id, id);
  t.deepEqual(readWallet(place.replica).labels, []);
});

contract("overwrites a newer replica with an older main", async (t, { place, start }) => {
  const first = await start();
  await invoices(first, ["a"]);
  await first.stop();
  copyFileSync(place.main, `${place.main}.old`);
  const second = await start();
  await invoices(second, ["b", "c"]);
  await second.stop();
  copyFileSync(`${place.main}.old`, place.main);
  await (await start()).stop();
  t.deepEqual(readWallet(place.replica).labels, ["a"]);
});

contract("brings an older or missing replica up to main", async (t, { place, start }) => {
  const first = await start();
  await invoices(first, ["a"]);
  await first.stop();
  copyFileSync(place.replica, `${place.replica}.old`);
  const second = await start();
  await invoices(second, ["b"]);
  await second.stop();
  copyFileSync(`${place.replica}.old`, place.replica);
  await (await start()).stop();
  t.deepEqual(readWallet(place.replica).labels, ["a", "b"]);
  rmSync(place.replica);
  await (await start()).stop();
  t.deepEqual(readWallet(place.replica).labels, ["a", "b"]);
});

contract("takes a replica of the same data_version for equal, whatever is in it", async (t, { place, start }) => {
  await (await start()).stop();
  const replica = new DatabaseSync(place.replica);
  replica.exec("CREATE TABLE foreign_to_main (x)");
  replica.close();
  await (await start()).stop();
  const after = new DatabaseSync(place.replica);
  t.teardown(() => after.close());
  t.truthy(after.prepare("SELECT 1 FROM sqlite_master WHERE name = 'foreign_to_main'").get());
});

contract("fails when the replica's directory is missing", async (t, { place, fail }) => {
  const replica = join(place.directory, "absent/lightningd.sqlite3");
  const exit = await fail([], `sqlite3://${place.main}:${replica}`);
  t.is(exit.status, 1);
  t.true(exit.output.includes(replica), exit.output);
  t.false(existsSync(replica));
});

contract("fails on a main that is no database, and leaves the replica alone", async (t, { place, start, fail }) => {
  await (await start()).stop();
  const before = readFileSync(place.replica);
  truncateSync(place.main, 0);
  appendFileSync(place.main, "not a database ".repeat(1000));
  t.is((await fail()).status, 1);
  t.true(before.equals(readFileSync(place.replica)));
});

// --- failures while running ---

contract(
  "is ended by SIGABRT when the replica cannot be written, and acknowledges nothing",
  async (t, { place, start }) => {
    const daemon = await start();
    await daemon.client.invoice("a");
    const other = new DatabaseSync(place.replica);
    t.teardown(() => other.close());
    other.exec("BEGIN IMMEDIATE");
    await t.throwsAsync(daemon.client.invoice("b"), { instanceOf: ConnectionLost });
    t.is((await daemon.exit).signal, "SIGABRT");
    other.exec("ROLLBACK");
    t.deepEqual(readWallet(place.main).labels, ["a"]);
    t.deepEqual(readWallet(place.replica).labels, ["a"]);
  },
);

contract("waits for another process's lock on main", async (t, { place, start }) => {
  const daemon = await start();
  const other = new DatabaseSync(place.main);
  t.teardown(() => other.close());
  other.exec("BEGIN IMMEDIATE");
  const waiting = daemon.client.invoice("a");
  const unlocked = setTimeout(() => other.exec("ROLLBACK"), 300);
  t.teardown(() => clearTimeout(unlocked));
  await t.notThrowsAsync(waiting);
});

contract("is ended by SIGABRT when somebody else has changed data_version", async (t, { place, start }) => {
  const daemon = await start();
  await daemon.client.invoice("a");
  const other = new DatabaseSync(place.main);
  other.exec("UPDATE vars SET intval = intval + 1 WHERE name = 'data_version'");
  other.close();
  await t.throwsAsync(daemon.client.invoice("b"), { instanceOf: ConnectionLost });
  t.is((await daemon.exit).signal, "SIGABRT");
  t.deepEqual(readWallet(place.main).labels, ["a"]);
});

// --- one at a time, and its end ---

contract("fails with status 11 while another one runs in its directory", async (t, { place, start, fail }) => {
  const daemon = await start();
  const exit = await fail([], `sqlite3://${place.main}.other`);
  t.is(exit.status, 11);
  t.true(daemon.running);
  t.false(existsSync(`${place.main}.other`));
});

contract("starts over the pid file and the socket that a killed one left", async (t, { place, start }) => {
  const first = await start();
  await first.kill();
  t.true(existsSync(place.pidFile));
  t.true(existsSync(first.socket));
  const second = await start();
  t.is(readFileSync(place.pidFile, "utf8").split("\n")[0], String(second.process.pid));
});

contract("answers stop after the wallet is closed and the pid file gone", async (t, { place, start }) => {
  const daemon = await start();
  await daemon.client.invoice("a");
  t.deepEqual(await daemon.client.call("stop"), { result: "Shutdown complete" });
  t.false(existsSync(place.pidFile));
  const copy = new DatabaseSync(place.main);
  copy.exec("BEGIN EXCLUSIVE; ROLLBACK");
  copy.close();
  t.is((await daemon.exit).status, 0);
});

contract("dies of SIGTERM without a clean stop", async (t, { place, start }) => {
  const daemon = await start();
  daemon.process.kill("SIGTERM");
  t.is((await daemon.exit).signal, "SIGTERM");
  t.true(existsSync(place.pidFile));
});

// --- configuration ---

contract("reads its config file", async (t, { installation, place }) => {
  const conf = `${place.directory}.conf`;
  const lines = [
    "# a comment",
    "",
    "network=regtest",
    `lightning-dir=${place.directory}`,
    `wallet=${place.wallet}`,
    "alias=from the file",
    "offline",
    "log-prefix=lab ",
  ];
  writeFileSync(conf, `${lines.join("\n")}\n`);
  const daemon = await Daemon.start(installation, { directory: place.directory, words: [`--conf=${conf}`] });
  t.is((await daemon.client.getinfo()).alias, "from the file");
  const exit = await daemon.stop();
  t.regex(exit.output, /^lab \d{4}-\d\d-\d\dT[\d:.]+Z INFO/m);
  t.is(readWallet(place.replica).nodeId, readWallet(place.main).nodeId);
});

for (const { name, line, problem } of [
  { name: "an unknown option", line: "no-such-option=1", problem: "unknown option" },
  { name: "an option without its value", line: "alias", problem: "requires an argument" },
  { name: "a flag with a value", line: "offline=true", problem: "doesn't allow an argument" },
  { name: "a plugin that is not there", line: "plugin=/no/such/plugin", problem: "Failed to register /no/such/plugin" },
])
  contract(`fails on ${name} in the config file, naming file and line`, async (t, { place, fail }) => {
    const conf = `${place.directory}.conf`;
    writeFileSync(conf, `alias=x\n${line}\n`);
    const exit = await fail([`--conf=${conf}`]);
    t.is(exit.status, 1);
    t.true(exit.output.includes(`Config file ${conf} line 2: ${line}: ${problem}`), exit.output);
    t.false(existsSync(place.main));
  });

contract("fails on an unknown option of the command line", async (t, { fail }) => {
  const exit = await fail(["--no-such-option=1"]);
  t.is(exit.status, 1);
  t.true(exit.output.includes("--no-such-option=1: unknown option"), exit.output);
});

contract("fails on a config file that is not there", async (t, { place, fail }) => {
  const exit = await fail([`--conf=${place.directory}.conf`]);
  t.is(exit.status, 1);
  t.true(exit.output.includes(`${place.directory}.conf`), exit.output);
});

for (const dsn of ["no-scheme", "oracle://x"])
  contract(`fails on the wallet line ${dsn}`, async (t, { fail }) => {
    const exit = await fail([], dsn);
    t.is(exit.status, 1);
    t.true(exit.output.includes(dsn), exit.output);
  });

contract(
  "starts on a wallet that is lost with it when the wallet line names no file",
  async (t, { installation, place }) => {
    const options = { directory: place.directory, wallet: "sqlite3://" };
    const first = await Daemon.start(installation, options);
    await first.client.invoice("a");
    await first.stop();
    const second = await Daemon.start(installation, options);
    t.deepEqual(await second.client.listinvoices(), []);
    await second.stop();
  },
);

// --- the socket and lightning-cli ---

contract("answers what it does not know with an error and goes on", async (t, { start }) => {
  const daemon = await start();
  await t.throwsAsync(daemon.client.call("nosuchmethod"), { instanceOf: RpcFailure, code: -32601 });
  await t.throwsAsync(daemon.client.call("listinvoices", { nosuch: 1 }), { instanceOf: RpcFailure, code: -32602 });
  await t.throwsAsync(daemon.client.call("invoice", ["1000", "x"]), { instanceOf: RpcFailure, code: -32602 });
  t.deepEqual(await daemon.client.listinvoices("x"), []);
});

contract("answers two requests of one write in order, each with an empty line after it", async (t, { start }) => {
  const daemon = await start();
  const socket = connect(daemon.socket);
  t.teardown(() => socket.destroy());
  const request = (id: number) => JSON.stringify({ jsonrpc: "2.0", id, method: "listinvoices", params: [] });
  socket.write(request(1) + request(2));
  let text = "";
  for await (const chunk of socket) {
    text += String(chunk);
    if (text.split("\n\n").length > 2) break;
  }
  const answers = text.split("\n\n");
  t.deepEqual(
    answers.slice(0, 2).map((answer) => JSON.parse(answer) as unknown),
    [1, 2].map((id) => ({ jsonrpc: "2.0", id, result: { invoices: [] } })),
  );
});

contract(
  "is asked by lightning-cli, which tells by its status what went wrong",
  async (t, { installation, place, start }) => {
    const cli = (...words: string[]) =>
      spawnSync(installation.cli, [`--lightning-dir=${place.directory}`, "--network=regtest", ...words], {
        encoding: "utf8",
      });
    mkdirSync(place.network, { recursive: true });
    t.is(cli("getinfo").status, 2);
    const daemon = await start();
    const { id } = await daemon.client.getinfo();
    t.is((JSON.parse(cli("getinfo").stdout) as { id: string }).id, id);
    t.is(cli("invoice", "1000", "by-order", "x").status, 0);
    t.is(cli("invoice", "amount_msat=any", "label=by-name", "description=a b").status, 0);
    const listed = JSON.parse(cli("listinvoices").stdout) as { invoices: { label: string; amount_msat?: number }[] };
    t.deepEqual(
      listed.invoices.map(({ label, amount_msat }) => [label, amount_msat]),
      [
        ["by-order", 1000],
        ["by-name", undefined],
      ],
    );
    const refused = cli("nosuchmethod");
    t.is(refused.status, 1);
    t.is((JSON.parse(refused.stdout) as { code: number }).code, -32601);
    t.is(cli("stop").status, 0);
    t.is((await daemon.exit).status, 0);
  },
);
