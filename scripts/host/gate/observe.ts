/** Looks at everything that the gate decides by. Changes nothing but scratch files of its own. Runs as the node's user. */
import { stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  hasPostgresWallet,
  hasSqliteWallet,
  type JournalMode,
  type LightningdDocument,
  type PostgresNodeDocument,
  type SqliteNodeDocument,
  type WitnessPlace,
} from "../contract.ts";
import { type ClusterState, readCluster } from "../postgres/wallet/cluster.ts";
import { readAccounts } from "../read.ts";
import { parseMark } from "../witness/mark.ts";
import { askPeer, PeerRefused, PeerUnreachable } from "../witness/peer.ts";
import { readStopRecord } from "../witness/stop.ts";
import { readMark } from "../witness/store.ts";
import { copiesAside } from "./aside.ts";
import { checkNeeded, type Fingerprint, JOURNAL_SUFFIXES, readCopy, readLive, walletFingerprint } from "./copy.ts";
import { highestMark } from "./decide.ts";
import { notMounted } from "./mounts.ts";
import type { CopyState, Observed, WitnessState } from "./observed.ts";
import { type PeekRequest, parsePeek, peekReplica } from "./peek.ts";
import { otherUsers } from "./processes.ts";
import { readSecret } from "./secret.ts";
import { readDegraded, readIdentity, readPermission } from "./state.ts";

/** Said while something takes long. */
export type Say = (line: string) => void;

/** lightningd's default --pid-file (lightningd/options.c). */
export const pidFile = (document: LightningdDocument) => join(document.directory, `lightningd-${document.network}.pid`);

/** hsm_secret lies in the network's directory, which main's is by default but need not be. */
export const secretFile = (document: LightningdDocument) => join(document.directory, document.network, "hsm_secret");

/** Mount points that the node needs: those of the document, and the replica's own where another host keeps it. */
export function neededMounts(document: LightningdDocument): string[] {
  const remote = remoteReplicaMount(document);
  return remote === undefined ? document.mounts : [...document.mounts, remote];
}

/** Where a replica of another host is mounted, undefined if there is none. */
function remoteReplicaMount(document: LightningdDocument): string | undefined {
  const replica = hasSqliteWallet(document) ? document.wallet.replica : undefined;
  return replica?.peek.kind === "peer" ? dirname(replica.path) : undefined;
}

/** Reads both files of the wallet, each in the way that its state allows. */
interface WalletReader {
  replica(): Promise<CopyState>;
  /** `replica` settles when the replica has been read. */
  main(replica: Promise<unknown>): Promise<CopyState>;
}

/** Before a start: nobody has the files open, and nobody may. */
export function createObserver(document: LightningdDocument, say: Say): () => Promise<Observed> {
  if (hasPostgresWallet(document)) return () => observeStoppedCluster(document);
  if (!hasSqliteWallet(document)) throw new Error("gate: a wallet of an unknown kind");
  const readFile = rememberingReader(say);
  const { main } = document.wallet;
  return async () => {
    const stop = await readStopRecord(document.node);
    const others = await otherUsers(pidFile(document), walletFiles(document));
    return observe(document, others, {
      replica: () =>
        readReplica(document, stop?.replica ? { closed: stop.replica } : {}, (path) => readFile(path, stop?.replica)),
      main: async () =>
        others.length > 0 ? { state: "unreachable", path: main, why: "it is in use" } : readFile(main, stop?.main),
    });
  };
}

/** Before a repair: as before a start, and both files are checked wholly, whoever closed them last. */
export async function observeWholly(document: LightningdDocument, say: Say): Promise<Observed> {
  if (hasPostgresWallet(document)) return observeStoppedCluster(document);
  if (!hasSqliteWallet(document)) throw new Error("gate: a wallet of an unknown kind");
  const { main, replica } = document.wallet;
  say(`checking main${replica ? " and replica" : ""} wholly; about 13 s for each GB`);
  const others = await otherUsers(pidFile(document), walletFiles(document));
  return observe(document, others, {
    replica: () => readReplica(document, { check: "full" }, (path) => readCopy(path, "full")),
    main: async () =>
      others.length > 0 ? { state: "unreachable", path: main, why: "it is in use" } : readCopy(main, "full"),
  });
}

/** While the node runs as process `pid`: what the gate would see if it were stopped now. Main is read after the replica, so it is not behind. */
export async function observeRunning(document: LightningdDocument, pid: number): Promise<Observed> {
  if (hasPostgresWallet(document)) return observeRunningCluster(document, pid);
  if (!hasSqliteWallet(document)) throw new Error("gate: a wallet of an unknown kind");
  const { main, journalMode } = document.wallet;
  const others = await otherUsers(pidFile(document), walletFiles(document));
  const strangers = others.filter((other) => other.pid !== pid);
  return observe(document, strangers, {
    replica: () =>
      readReplica(document, { check: "none" }, async (path) => (await peekReplica(path, { check: "none" })).copy),
    async main(replica) {
      await replica;
      const [live, { size }] = await Promise.all([readLive(main), stat(main)]);
      if (live === undefined) return { state: "unreachable", path: main, why: "it is locked for the moment" };
      return { state: "wallet", path: main, ...live, journalMode, bytes: size };
    },
  });
}

async function observe(
  document: LightningdDocument,
  others: Observed["others"],
  files: WalletReader,
): Promise<Observed> {
  const { node, user } = document;
  const wallet = placesOf(document);
  const unmounted = await notMounted(neededMounts(document));
  const isThere = (path: string) => !unmounted.some((mount) => path.startsWith(`${mount}/`));
  const unseen = async (path: string): Promise<CopyState> => ({
    state: "unreachable",
    path,
    why: "its mount is not there",
  });
  const accounts = await readAccounts();
  const replicaPath = wallet.replica;
  const replicaRead =
    replicaPath === undefined ? undefined : isThere(replicaPath) ? files.replica() : unseen(replicaPath);
  const [main, replica, secret, witnesses, identity, permission, degraded, free] = await Promise.all([
    isThere(wallet.main) ? files.main(Promise.resolve(replicaRead)) : unseen(wallet.main),
    replicaRead,
    isThere(secretFile(document))
      ? readSecret(secretFile(document), (uid) => accounts.users.get(uid) ?? `${uid}`)
      : ({ state: "absent", path: secretFile(document) } as const),
    Promise.all(witnessPlaces(document).map((place) => readWitness(node, place))),
    readIdentity(),
    readPermission(),
    readDegraded(),
    replicaPath !== undefined && isThere(replicaPath) ? freeBytes(replicaPath) : undefined,
  ]);
  const now = new Date().toISOString();
  const marked = highestMark(witnesses)?.mark.dataVersion ?? 0;
  const rolledBack = hasSqliteWallet(document) && main.state === "wallet" && marked > main.version;
  return {
    ...(rolledBack ? { aside: await copiesAside(document) } : {}),
    ...{ node, user, now, unmounted, others, main, replica, secret, witnesses, permission, degraded },
    journalMode: wallet.journalMode,
    remoteReplicaMount: remoteReplicaMount(document),
    replicaFreeBytes: free,
    identity: identity?.node === node ? identity.nodeId : undefined,
  };
}

/** Where the wallet is, in the words of messages: files, or a database. */
function placesOf(document: LightningdDocument): {
  main: string;
  replica: string | undefined;
  journalMode: JournalMode;
} {
  if (hasSqliteWallet(document)) {
    const { main, replica, journalMode } = document.wallet;
    return { main, replica: replica?.path, journalMode };
  }
  // The cluster's log is written ahead too; nothing reads this of it.
  return { main: `database ${document.node}`, replica: undefined, journalMode: "wal" };
}

/** Before a start: what the primary has, and whether its standbys have it too. */
async function observeStoppedCluster(document: PostgresNodeDocument): Promise<Observed> {
  // Not awaited: each look is a part of the time for which a node whose primary has moved stands still.
  const cluster = readCluster(document.wallet);
  const others = otherUsers(pidFile(document), []);
  return observeCluster(document, await others, cluster);
}

/** While the node runs its own session is no stranger: the oldest one. */
async function observeRunningCluster(document: PostgresNodeDocument, pid: number): Promise<Observed> {
  const cluster = readCluster(document.wallet).then((seen) =>
    // It commits while it is looked at, too.
    seen.state === "primary" ? { ...seen, latest: seen.version, sessions: seen.sessions.slice(1) } : seen,
  );
  const strangers = (await otherUsers(pidFile(document), [])).filter((other) => other.pid !== pid);
  return observeCluster(document, strangers, cluster);
}

async function observeCluster(
  document: PostgresNodeDocument,
  others: Observed["others"],
  asking: Promise<ClusterState>,
): Promise<Observed> {
  const seen = await observe(document, others, {
    replica: () => Promise.reject(new Error("gate: a wallet in PostgreSQL has no replica")),
    main: async () => walletCopy(await asking, `database ${document.wallet.role}`),
  });
  const [cluster, identity] = await Promise.all([asking, readIdentity()]);
  return {
    ...seen,
    cluster: {
      cluster,
      required: document.wallet.synchronousStandbys,
      systemIdentifier: identity?.node === document.node ? identity.systemIdentifier : undefined,
      timeline: highestTimeline(seen.witnesses),
    },
  };
}

/** The wallet in the cluster as a copy among others. Pure. */
export function walletCopy(cluster: ClusterState, name: string): CopyState {
  if (cluster.state === "unreachable") return { state: "unreachable", path: name, why: cluster.why };
  const path = `${name} on ${cluster.server}`;
  const { claimed, version, nodeId } = cluster;
  if (!claimed) return { state: "blank", path, journalMode: "wal" };
  if (version === null) return { state: "damaged", path, why: "vars.data_version is missing" };
  return { state: "wallet", path, version, nodeId: nodeId ?? undefined, journalMode: "wal", bytes: 0 };
}

function highestTimeline(witnesses: WitnessState[]): number | undefined {
  const seen = witnesses.flatMap((witness) =>
    witness.state === "mark" && witness.mark.timeline !== undefined ? [witness.mark.timeline] : [],
  );
  return seen.length === 0 ? undefined : Math.max(...seen);
}

/** The places that must answer: the declared ones, and always this host's own. */
export function witnessPlaces(document: LightningdDocument): WitnessPlace[] {
  return [
    { kind: "local", host: document.host, directory: "" },
    ...document.witnesses.filter((place) => place.kind === "peer"),
  ];
}

function walletFiles({ wallet }: SqliteNodeDocument): string[] {
  return [wallet.main, ...(wallet.replica ? [wallet.replica.path] : [])].flatMap((path) => [
    path,
    ...JOURNAL_SUFFIXES.map((suffix) => path + suffix),
  ]);
}

const mebibytes = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;
const IN_WORDS = {
  quick: "every page is checked (quick_check), and not the indexes, which would take about 13 s for each GB",
  full: "all of it is checked (integrity_check)",
} as const;

/** Waiting for one thing must not check another one again and again: a file that nobody has touched is not read twice. */
function rememberingReader(say: Say): (path: string, closed: Fingerprint | undefined) => Promise<CopyState> {
  const known = new Map<string, { files: string; state: CopyState }>();
  return async (path, closed) => {
    const files = await walletFingerprint(path).catch(() => undefined);
    const key = JSON.stringify(files);
    const before = known.get(path);
    if (files !== undefined && before?.files === key) return before.state;
    const check = checkNeeded(closed, files);
    const size = Number(files?.database?.bytes ?? 0);
    if (check !== "none")
      say(`gate: ${path} (${mebibytes(size)}) is not as a clean stop has left it: ${IN_WORDS[check]}`);
    const state = await readCopy(path, check);
    if (state.state === "wallet") known.set(path, { files: key, state });
    return state;
  };
}

async function readReplica(
  document: SqliteNodeDocument,
  request: PeekRequest,
  readLocal: (path: string) => Promise<CopyState>,
): Promise<CopyState> {
  const { replica } = document.wallet;
  if (replica === undefined) throw new Error("gate: asked for a replica that is not declared");
  const { path, peek } = replica;
  if (peek.kind === "local") return readLocal(path);
  try {
    const { copy } = parsePeek(await askPeer(peek.access, "peek", request));
    const seen = await stat(path).catch(() => undefined);
    // Both sides look at one file, or what lightningd would write to is not what was checked.
    if (copy.state === "wallet" && request.check !== "none" && seen?.size !== copy.bytes)
      return {
        state: "unreachable",
        path,
        why: `${peek.access.host} has a file of ${copy.bytes} bytes there, the mount shows ${seen?.size ?? "none"}`,
      };
    return { ...copy, path };
  } catch (error) {
    if (!(error instanceof PeerUnreachable) && !(error instanceof PeerRefused)) throw error;
    return { state: "unreachable", path, why: error.message };
  }
}

/** What one place says of the node's mark; never throws for a host that does not answer. */
export async function readWitness(node: string, place: WitnessPlace): Promise<WitnessState> {
  if (place.kind === "local") return { host: place.host, ...(await readMark(node)) };
  try {
    const answer = await askPeer(place.access, "read", {});
    if (typeof answer === "object" && answer !== null && "state" in answer) {
      if (answer.state === "missing") return { host: place.host, state: "missing" };
      if (answer.state === "damaged" && "why" in answer)
        return { host: place.host, state: "damaged", why: `${answer.why}` };
      if (answer.state === "mark" && "mark" in answer)
        return { host: place.host, state: "mark", mark: parseMark(JSON.stringify(answer.mark)) };
    }
    return {
      host: place.host,
      state: "unreachable",
      why: "its answer is not understood: are both hosts at one version of twofold?",
    };
  } catch (error) {
    if (!(error instanceof PeerUnreachable) && !(error instanceof PeerRefused)) throw error;
    return { host: place.host, state: "unreachable", why: error.message };
  }
}

async function freeBytes(path: string): Promise<number | undefined> {
  const found = await statfs(dirname(path)).catch(() => undefined);
  return found && found.bavail * found.bsize;
}
