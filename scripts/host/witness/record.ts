/** Writes what was seen of the node's own wallet to every place of the witness. Runs as the node's user. */
import { dirname } from "node:path";
import { hasSqliteWallet, type LightningdDocument, type SqliteNodeDocument } from "../contract.ts";
import { syncDirectory, syncFile } from "../files.ts";
import { type Fingerprint, fingerprint, readCopy } from "../gate/copy.ts";
import { readLiveWallet } from "../gate/live.ts";
import { parsePeek } from "../gate/peek.ts";
import { type Mark, sampledVersion } from "./mark.ts";
import { askPeer, PeerRefused, PeerUnreachable } from "./peer.ts";
import { askNodeId, rpcSocket } from "./rpc.ts";
import { writeStopRecord } from "./stop.ts";
import { advanceMark } from "./store.ts";

export interface Recorded {
  mark: Mark;
  /** Places that did not take it, in words. They have an older mark, which refuses less but never wrongly. */
  behind: string[];
}

/** To this host's own place first, then to every peer at once. @throws {MarkRefused} if this host's own place refuses it */
async function recordMark(document: LightningdDocument, mark: Mark): Promise<Recorded> {
  await advanceMark(mark);
  const peers = document.witnesses.filter((place) => place.kind === "peer");
  const answers = await Promise.all(
    peers.map(async ({ host, access }) => {
      try {
        await askPeer(access, "advance", mark);
        return undefined;
      } catch (error) {
        if (error instanceof PeerUnreachable || error instanceof PeerRefused) return `${host}: ${error.message}`;
        throw error;
      }
    }),
  );
  return { mark, behind: answers.filter((answer) => answer !== undefined) };
}

/**
 * While the node runs: between an answer to getinfo and its stop, so that the file is surely open and recovered. Main only, read-only,
 * one short query: in WAL mode a reader blocks nobody, and a read-only one neither checkpoints nor removes the -wal when it closes.
 * @returns undefined if the node doesn't run or its wallet is locked for the moment
 */
export async function recordSample(document: LightningdDocument, source: string): Promise<Recorded | undefined> {
  const nodeId = await askNodeId(rpcSocket(document));
  if (nodeId === undefined) return undefined;
  const live = await readLiveWallet(document);
  if (live === undefined || live.nodeId !== nodeId) return undefined;
  return recordMark(document, {
    node: document.node,
    nodeId,
    dataVersion: sampledVersion(live.version),
    exact: false,
    at: new Date().toISOString(),
    source,
    ...(live.timeline === undefined ? {} : { timeline: live.timeline }),
  });
}

/** After a clean stop: lightningd has closed both files, and this process's unit keeps the next start out. */
export async function recordStop(document: LightningdDocument): Promise<Recorded | undefined> {
  if (!hasSqliteWallet(document)) return recordClusterStop(document);
  const { main } = document.wallet;
  // With a rollback journal the last commit is final only when the journal's removal is: SQLite leaves that to chance.
  await syncClosed(main);
  const copy = await readCopy(main, "none");
  if (copy.state !== "wallet" || copy.nodeId === undefined) return undefined;
  const recorded = await recordMark(document, {
    node: document.node,
    nodeId: copy.nodeId,
    dataVersion: copy.version,
    exact: true,
    at: new Date().toISOString(),
    source: "clean stop",
  });
  const closed = await fingerprint(main);
  const replica = await replicaFingerprint(document, copy.version);
  if (closed !== undefined) await writeStopRecord(document.node, { main: closed, ...(replica ? { replica } : {}) });
  return recorded;
}

/** The node's last commit, if a standby has it too: what was not acknowledged must not be called for later. */
async function recordClusterStop(document: LightningdDocument): Promise<Recorded | undefined> {
  const live = await readLiveWallet(document);
  if (live?.nodeId === undefined) return undefined;
  return recordMark(document, {
    node: document.node,
    nodeId: live.nodeId,
    dataVersion: live.version,
    exact: true,
    at: new Date().toISOString(),
    source: "clean stop",
    ...(live.timeline === undefined ? {} : { timeline: live.timeline }),
  });
}

async function replicaFingerprint(document: SqliteNodeDocument, version: number): Promise<Fingerprint | undefined> {
  const { replica } = document.wallet;
  if (replica === undefined) return undefined;
  try {
    if (replica.peek.kind === "local") {
      await syncClosed(replica.path);
      const copy = await readCopy(replica.path, "none");
      return copy.state === "wallet" && copy.version === version ? await fingerprint(replica.path) : undefined;
    }
    const seen = parsePeek(await askPeer(replica.peek.access, "peek", { check: "none" }));
    return seen.copy.state === "wallet" && seen.copy.version === version ? seen.fingerprint : undefined;
  } catch {
    // Without it the next start checks the replica wholly.
    return undefined;
  }
}

/** The file, and the removal of its journal. */
async function syncClosed(path: string): Promise<void> {
  await syncFile(path);
  await syncDirectory(dirname(path));
}
