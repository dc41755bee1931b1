/** What the lightningd stage reads of a host. */
import { dirname } from "node:path";
import { lightningdConfFiles } from "../../../templates/lightningd-conf.ts";
import { hasPostgresWallet, hasSqliteWallet, LIGHTNINGD, type LightningdDocument, tlsFiles } from "../contract.ts";
import { permissionHolds } from "../gate/decide.ts";
import { notMounted } from "../gate/mounts.ts";
import { readWitness, witnessPlaces } from "../gate/observe.ts";
import { readPermission } from "../gate/state.ts";
import { run } from "../process.ts";
import { type Entry, readAccounts, readEntries, readEntry } from "../read.ts";
import { readCertificateProblem } from "../tls/check.ts";
import { sharedDisks } from "./disks.ts";
import { type InstallFacts, readInstallFacts } from "./install/install.ts";
import { programsOf } from "./install/layout.ts";
import { lacksLibpq } from "./install/libpq.ts";
import { readJournalMode, SQLITE_HEADER_BYTES } from "./journal-mode.ts";
import { readStrangers } from "./strangers.ts";
import { readProcessVariable, readUnitState, type UnitState } from "./unit.ts";

export interface LightningdFacts {
  install: InstallFacts;
  /** By path: config files, unit, start program, gate document, and the directories of twofold. */
  entries: Map<string, Entry | undefined>;
  /** Config and unit of a lightningd that is not twofold's. */
  strangers: string[];
  /** Declared mount points at which nothing is mounted. */
  unmounted: string[];
  networkDirectory: Entry | undefined;
  unit: UnitState;
  /** TWOFOLD_DESIRED of the running main process: what it was started with. */
  startedWith: string | undefined;
  /** The verb without which the gate would refuse every start; undefined if `up` may start the node. */
  awaits: "init" | "witness rebuild" | undefined;
  /** Disks on which both main and a replica on this host lie. */
  sharedDisks: string[];
  /** Why the node's certificate of the cluster can't serve; undefined if it can, or if none is needed. */
  certificateProblem: string | undefined;
  /** The installed lightningd can't speak to PostgreSQL; false where it can, isn't installed yet, or need not. */
  lacksLibpq: boolean;
  /** Journal modes of the wallet's files that are there, by path. */
  journalModes: Record<string, ReturnType<typeof readJournalMode>>;
}

export const DIRECTORIES = [dirname(LIGHTNINGD.config), dirname(LIGHTNINGD.gateDocument)];

/** Core Lightning's directory of one network, which holds database, hsm_secret and socket. */
export function networkDirectoryOf(document: LightningdDocument): string {
  return `${document.directory}/${document.network}`;
}

export function walletFiles(document: LightningdDocument): string[] {
  if (!hasSqliteWallet(document)) return [];
  const { main, replica } = document.wallet;
  return replica ? [main, replica.path] : [main];
}

export async function readLightningdFacts(document: LightningdDocument): Promise<LightningdFacts> {
  const network = networkDirectoryOf(document);
  const paths = [
    ...DIRECTORIES,
    ...lightningdConfFiles(document).map(({ path }) => path),
    LIGHTNINGD.degradedConfig,
    LIGHTNINGD.startProgram,
    LIGHTNINGD.gateDocument,
    LIGHTNINGD.unitFile,
    ...(hasPostgresWallet(document) ? [tlsFiles("node").key] : []),
  ];
  const [install, entries, strangers, unmounted, networkDirectory, unit, data] = await Promise.all([
    readInstallFacts(document.install),
    readEntries(paths),
    readStrangers(),
    notMounted(document.mounts),
    readAccounts().then((accounts) => readEntry(network, accounts)),
    readUnitState(),
    readEntries([LIGHTNINGD.identity]),
  ]);
  const accounts = await readAccounts();
  const hasIdentity = data.get(LIGHTNINGD.identity) !== undefined;
  const secret = await readEntry(`${network}/hsm_secret`, accounts);
  const modes = await Promise.all(walletFiles(document).map(async (path) => [path, await readModeOf(path)] as const));
  const journalModes = Object.fromEntries(
    modes.filter(([, mode]) => mode !== undefined),
  ) as LightningdFacts["journalModes"];
  return {
    install,
    entries,
    strangers,
    unmounted,
    networkDirectory,
    unit,
    lacksLibpq: hasPostgresWallet(document) && (await lacksLibpq(`${programsOf(document.install)}/lightningd`)),
    certificateProblem: hasPostgresWallet(document)
      ? await readCertificateProblem(document.wallet.identity)
      : undefined,
    sharedDisks: unmounted.length > 0 ? [] : await readSharedDisks(document),
    startedWith: await readProcessVariable(unit.mainPid, "TWOFOLD_DESIRED"),
    awaits: hasIdentity ? undefined : await readAwaited(document, secret !== undefined, journalModes),
    journalModes,
  };
}

/** What a node waits for that has no identity on this host. */
async function readAwaited(
  document: LightningdDocument,
  hasSecret: boolean,
  modes: LightningdFacts["journalModes"],
): Promise<LightningdFacts["awaits"]> {
  if (!hasSecret && Object.keys(modes).length === 0) return "init";
  const main = hasSqliteWallet(document) ? modes[document.wallet.main] : undefined;
  // Without a wallet the gate has better words for what is missing.
  if (main !== "wal" && main !== "delete") return undefined;
  const permission = await readPermission();
  if (permission?.node === document.node)
    return permissionHolds({ permission, node: document.node, now: new Date().toISOString() }) ? undefined : "init";
  // A wallet that was brought here. One that a witness knows is a rebuilt host's, and one that is silent may know it.
  const witnesses = await Promise.all(witnessPlaces(document).map((place) => readWitness(document.node, place)));
  return witnesses.every(({ state }) => state === "missing") ? "witness rebuild" : undefined;
}

/** A replica on another host has disks of its own. */
async function readSharedDisks({ wallet }: LightningdDocument): Promise<string[]> {
  if (wallet.kind !== "sqlite" || wallet.replica?.peek.kind !== "local") return [];
  return sharedDisks(wallet.main, wallet.replica.path);
}

/**
 * Reads the header of a wallet file as plain bytes, which disturbs neither lightningd nor its locks. In a child process with a
 * time limit, because a read from a network mount whose host is dead would hold this program.
 * @returns undefined if there is no such file or it can't be read
 */
async function readModeOf(path: string): Promise<ReturnType<typeof readJournalMode> | undefined> {
  const count = `--read-bytes=${SQLITE_HEADER_BYTES}`;
  const args = ["--kill-after=1", "5", "od", "--address-radix=n", "--output-duplicates", "--format=x1", count, path];
  const { status, stdout } = await run("timeout", args);
  if (status !== 0) return undefined;
  return readJournalMode(Buffer.from(stdout.replace(/\s/g, ""), "hex"));
}
