/** Looks at everything that the gate decides by. Changes nothing but scratch files of its own. Runs as the node's user. */
import { stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { LightningdDocument, WitnessPlace } from "../contract.ts";
import { readAccounts } from "../read.ts";
import { parseMark } from "../witness/mark.ts";
import { askPeer, PeerRefused, PeerUnreachable } from "../witness/peer.ts";
import { readStopRecord } from "../witness/stop.ts";
import { readMark } from "../witness/store.ts";
import { type Check, type Fingerprint, fingerprint, JOURNAL_SUFFIXES, readCopy, sameFingerprint } from "./copy.ts";
import { notMounted } from "./mounts.ts";
import type { CopyState, Observed, WitnessState } from "./observed.ts";
import { parsePeek } from "./peek.ts";
import { otherUsers } from "./processes.ts";
import { readSecret } from "./secret.ts";
import { readDegraded, readIdentity, readPermission, readResync } from "./state.ts";

/** Said while something takes long. */
export type Say = (line: string) => void;

/** lightningd's default --pid-file (lightningd/options.c). */
export const pidFile = (document: LightningdDocument) => join(document.directory, `lightningd-${document.network}.pid`);

/** hsm_secret lies in the network's directory, which main's is by default but need not be. */
export const secretFile = (document: LightningdDocument) => join(document.directory, document.network, "hsm_secret");

/** Mount points that the node needs: those of the document, and the replica's own where another host keeps it. */
export function neededMounts(document: LightningdDocument): string[] {
  const { replica } = document.wallet;
  return replica?.peek.kind === "peer" ? [...document.mounts, dirname(replica.path)] : document.mounts;
}

/** An observer remembers what it has checked, so that waiting for one thing does not check another one again and again. */
export function createObserver(document: LightningdDocument, say: Say): () => Promise<Observed> {
  const read = rememberingReader(say);
  return async () => {
    const { wallet } = document;
    const unmounted = await notMounted(neededMounts(document));
    const [stop, others, accounts] = await Promise.all([
      readStopRecord(document.node),
      otherUsers(pidFile(document), walletFiles(document)),
      readAccounts(),
    ]);
    const isThere = (path: string) => !unmounted.some((mount) => path.startsWith(`${mount}/`));
    const unseen = (path: string): CopyState => ({ state: "unreachable", path, why: "its mount is not there" });
    const userName = (uid: number) => accounts.users.get(uid) ?? `${uid}`;
    const secret = secretFile(document);
    const [main, replica, secretState, witnesses, identity, permission, resync, degraded] = await Promise.all([
      isThere(wallet.main) && others.length === 0 ? read(wallet.main, stop?.main) : unseen(wallet.main),
      wallet.replica &&
        (isThere(wallet.replica.path) ? readReplica(document, read, stop?.replica) : unseen(wallet.replica.path)),
      isThere(secret) ? readSecret(secret, userName) : ({ state: "absent", path: secret } as const),
      Promise.all(witnessPlaces(document).map((place) => readWitness(document.node, place))),
      readIdentity(),
      readPermission(),
      readResync(),
      readDegraded(),
    ]);
    const now = new Date().toISOString();
    return {
      node: document.node,
      journalMode: wallet.journalMode,
      user: document.user,
      now,
      unmounted,
      others,
      main,
      replica,
      replicaFreeBytes:
        wallet.replica && isThere(wallet.replica.path) ? await freeBytes(wallet.replica.path) : undefined,
      secret: secretState,
      witnesses,
      identity: identity?.node === document.node ? identity.nodeId : undefined,
      permission,
      resync: resync !== undefined && now < resync.expires ? { reason: resync.reason } : undefined,
      degraded,
    };
  };
}

/** The places that must answer: the declared ones, and always this host's own. */
export function witnessPlaces(document: LightningdDocument): WitnessPlace[] {
  return [
    { kind: "local", host: document.host, directory: "" },
    ...document.witnesses.filter((place) => place.kind === "peer"),
  ];
}

function walletFiles({ wallet }: LightningdDocument): string[] {
  return [wallet.main, ...(wallet.replica ? [wallet.replica.path] : [])].flatMap((path) => [
    path,
    ...JOURNAL_SUFFIXES.map((suffix) => path + suffix),
  ]);
}

type Reader = (path: string, closed: Fingerprint | undefined) => Promise<CopyState>;

/**
 * How thoroughly a file has to be looked at. `integrity_check` reads all of it (seconds for each GB), so a file that nobody has
 * touched since lightningd closed it cleanly is not checked again: its disk's checksums and scrubs watch over bits at rest. After a crash,
 * a restore or an edit it differs from what the clean stop recorded, and is checked wholly.
 */
export function checkNeeded(closed: Fingerprint | undefined, found: Fingerprint | undefined): Check {
  return sameFingerprint(closed, found) ? "none" : "full";
}

/** Bytes from which a full check is announced, since it takes longer than a second. */
const LARGE = 256 * 2 ** 20;

function rememberingReader(say: Say): Reader {
  const known = new Map<string, { key: string; state: CopyState }>();
  return async (path, closed) => {
    const found = await fingerprint(path).catch(() => undefined);
    const journals = await Promise.all(
      JOURNAL_SUFFIXES.map((suffix) => fingerprint(path + suffix).catch(() => undefined)),
    );
    const key = JSON.stringify([found, journals]);
    const before = known.get(path);
    if (before?.key === key && before.state.state === "wallet") return before.state;
    const check = checkNeeded(closed, found);
    if (check === "full" && Number(found?.bytes ?? 0) > LARGE)
      say(
        `checking all of ${path} (${Math.round(Number(found?.bytes) / 2 ** 20)} MiB), since it was not closed cleanly as it is now`,
      );
    const state = await readCopy(path, check);
    known.set(path, { key, state });
    return state;
  };
}

async function readReplica(
  document: LightningdDocument,
  read: Reader,
  closed: Fingerprint | undefined,
): Promise<CopyState> {
  const { replica } = document.wallet;
  if (replica === undefined) throw new Error("gate: asked for a replica that is not declared");
  if (replica.peek.kind === "local") return read(replica.path, closed);
  try {
    const answer = parsePeek(await askPeer(replica.peek.access, "peek", { closed }));
    const seen = await stat(replica.path).catch(() => undefined);
    // Both sides look at one file, or what lightningd would write to is not what was checked.
    if (answer.copy.state === "wallet" && seen?.size !== answer.copy.bytes)
      return {
        state: "unreachable",
        path: replica.path,
        why: `${replica.peek.access.host} has a file of ${answer.copy.bytes} bytes there, the mount shows ${seen?.size ?? "none"}`,
      };
    return { ...answer.copy, path: replica.path };
  } catch (error) {
    if (!(error instanceof PeerUnreachable) && !(error instanceof PeerRefused)) throw error;
    return { state: "unreachable", path: replica.path, why: error.message };
  }
}

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
