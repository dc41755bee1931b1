/**
 * The lab daemon: keeps Core Lightning's contract where it matters to twofold (README.md beside this file), in the order in which
 * lightningd starts: options, directory, plugins, pid file, hsm_secret, wallet, identity check, RPC socket.
 */
import { existsSync, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { Failure, STATUS } from "./failure.ts";
import { createIfMissing, loadSeed, nodeId } from "./hsm-secret.ts";
import { type Log, openLog } from "./log.ts";
import { createMethods } from "./methods.ts";
import { type Options, parseBoolean, readOptions } from "./options.ts";
import { lockPidFile, removePidFile } from "./pid-file.ts";
import { openPostgres } from "./postgres.ts";
import { listen } from "./rpc.ts";
import { openSqlite } from "./sqlite.ts";
import { VERSION, Wallet } from "./wallet.ts";

/** Makes BASE and BASE/NETWORK where they are missing, and enters the latter: relative paths of options start there. */
function enterNetworkDirectory(base: string, network: string): string {
  const directory = join(base, network);
  if (!existsSync(directory)) {
    try {
      // One level each, as lightningd: a missing parent is an error and not a new path.
      if (!existsSync(base)) mkdirSync(base, { mode: 0o700 });
      mkdirSync(directory, { mode: 0o700 });
    } catch (error) {
      throw new Failure(`Could not make directory ${directory}: ${(error as Error).message}`);
    }
  }
  try {
    process.chdir(directory);
  } catch (error) {
    throw new Failure(`Could not change directory ${directory}: ${(error as Error).message}`);
  }
  return directory;
}

/** The lab daemon runs no plugins, but misses one as lightningd does. */
function checkPlugins(options: Options): void {
  for (const option of ["plugin", "important-plugin"])
    for (const { value, source } of options.all(option))
      if (!existsSync(value)) throw new Failure(`${source}: Failed to register ${value}: No such file or directory`);
}

async function start(words: string[]): Promise<void> {
  if (words.includes("--version") || words.includes("-V")) {
    console.log(VERSION);
    return;
  }
  const options = readOptions(words, homedir());
  const network = options.value("network") ?? "bitcoin";
  if (network !== "regtest")
    throw new Failure(
      `The lab daemon runs on regtest only, received network=${network}: it has no chain and can keep no money. Install the real lightningd.`,
    );
  const base = resolve(options.value("lightning-dir") ?? join(homedir(), ".lightning"));
  const directory = enterNetworkDirectory(base, network);
  checkPlugins(options);
  const log = openLog({
    files: options.all("log-file").map((setting) => setting.value),
    level: options.value("log-level") ?? "info",
    prefix: options.value("log-prefix") ?? "",
    timestamps: parseBoolean("log-timestamps", options.value("log-timestamps"), true),
  });
  log("info", `${VERSION} (the lab daemon, a stand-in: no channels, no chain, no money)`);

  const pidFile = resolve(options.value("pid-file") ?? join(base, `lightningd-${network}.pid`));
  lockPidFile(pidFile);
  if (createIfMissing()) log("unusual", "HSM: created new hsm_secret file");
  const id = nodeId(loadSeed());
  const wallet = await openWallet(options.value("wallet") ?? `sqlite3://${directory}/lightningd.sqlite3`, id, log);
  const identity = {
    nodeId: id,
    alias: options.value("alias") ?? `LAB-${id.slice(2, 10)}`,
    color: options.value("rgb") ?? id.slice(0, 6),
    network,
    directory,
  };

  const server = await listen(options.value("rpc-file") ?? "lightning-rpc", fileMode(options), {
    methods: createMethods(identity, wallet),
    commit: () => wallet.commit(),
    fatal: (error) => abort(error, log),
    stop: () => void stop(),
  });
  async function stop(): Promise<void> {
    log("unusual", "JSON-RPC shutdown");
    wallet.close();
    removePidFile(pidFile);
    await server.finish({ result: "Shutdown complete" });
    process.exit(0);
  }
  log(
    "info",
    `Server started with public key ${id}, alias ${identity.alias} (color #${identity.color}) and lightningd ${VERSION}`,
  );
}

async function openWallet(dsn: string, id: string, log: Log): Promise<Wallet> {
  const database = dsn.startsWith("postgres://") ? openPostgres(dsn) : await openSqlite(dsn);
  const wallet = Wallet.open(database, (message) => log("info", message));
  wallet.claim(id);
  return wallet;
}

function fileMode(options: Options): number {
  const mode = options.value("rpc-file-mode") ?? "0600";
  if (!/^0?[0-7]{3}$/.test(mode)) throw new Failure(`--rpc-file-mode=${mode}: Invalid argument '${mode}'`);
  return Number.parseInt(mode, 8);
}

/** A database that fails under a running lightningd ends it by SIGABRT: what was not acknowledged is nobody's promise. */
function abort(error: unknown, log: Log): never {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`${message}\n`);
  log("broken", message);
  process.abort();
}

start(process.argv.slice(2)).catch((error: unknown) => {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`lightningd: ${message}\n`);
  process.exit(error instanceof Failure ? error.status : STATUS.failed);
});
