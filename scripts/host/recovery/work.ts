/** What runs as the node's user under the start lock; each prints one line of JSON for the root side, which writes the audit. */
import { setTimeout as delay } from "node:timers/promises";
import type { LightningdDocument, PeerAccess, SqliteNodeDocument } from "../contract.ts";
import { observeWholly } from "../gate/observe.ts";
import { parsePeek } from "../gate/peek.ts";
import type { Mark } from "../witness/mark.ts";
import { askPeer } from "../witness/peer.ts";
import { replaceMark } from "../witness/store.ts";
import { mayRebuildWitness, mayReplaceMark, mayRestoreReplica, mayResyncReplica, nobodyElseReaches } from "./decide.ts";
import { type Copied, copyWallet } from "./files.ts";
import { requireRoom } from "./room.ts";
import type { RebuildRequest } from "./tasks.ts";

export type Say = (line: string) => void;

/** @throws {Refusal} before anything was changed */
export async function restoreReplica(document: SqliteNodeDocument, say: Say): Promise<Copied> {
  const seen = await observeWholly(document, say);
  const replica = mayRestoreReplica(seen);
  const { peek } = document.wallet.replica ?? {};
  if (peek?.kind === "peer") await awaitNobodyElse(peek.access, say);
  await requireRoom(replica.path, document.wallet.main);
  say(`copying the replica (data_version ${replica.version}, ${replica.bytes} bytes) to ${document.wallet.main}`);
  const { version, nodeId } = replica;
  return copyWallet(replica.path, document.wallet.main, { version, nodeId, journalMode: document.wallet.journalMode });
}

/** A host that lost its power has a session on the replica's host until sshd there gives it up: 4 times 15 s (templates/replica-sshd.conf). */
const DEAD_SESSION_MS = 90_000;
const SESSIONS_POLL_MS = 1000;

/** @throws {Refusal} if somebody else is logged in for longer than one that is gone can be */
async function awaitNobodyElse(replicaHost: PeerAccess, say: Say): Promise<void> {
  const deadline = Date.now() + DEAD_SESSION_MS;
  for (let first = true; ; first = false) {
    const { sessions = 0 } = parsePeek(await askPeer(replicaHost, "peek", { check: "none" }));
    if (sessions <= 1 || Date.now() > deadline) return nobodyElseReaches(replicaHost.host, sessions);
    if (first)
      say(
        `${sessions} SFTP sessions are on ${replicaHost.host}, where this host's mount is one; that of a host which lost its power ends within a minute: waiting`,
      );
    await delay(SESSIONS_POLL_MS);
  }
}

/** @throws {Refusal} before anything was changed */
export async function resyncReplica(document: SqliteNodeDocument, say: Say): Promise<Copied> {
  const seen = await observeWholly(document, say);
  const main = mayResyncReplica(seen);
  const { replica, journalMode } = document.wallet;
  if (replica === undefined) throw new Error("recovery: a replica that is not declared was let through");
  await requireRoom(main.path, replica.path);
  say(`copying main (data_version ${main.version}, ${main.bytes} bytes) to ${replica.path}`);
  const copied = await copyWallet(main.path, replica.path, { version: main.version, nodeId: main.nodeId, journalMode });
  if (replica.peek.kind === "peer") {
    say(`comparing it with what ${replica.peek.access.host} has on its disk`);
    const peek = parsePeek(await askPeer(replica.peek.access, "peek", { check: "full", digest: true }));
    if (peek.digest !== copied.digest)
      throw new Error(
        `the replica on ${replica.peek.access.host} is not what was written: SHA-256 ${peek.digest ?? peek.copy.state}, expected ${copied.digest}\n` +
          "  to do: check that host's disk and the mount; the former replica lies beside it",
      );
  }
  return copied;
}

export interface Rebuilt {
  nodeId: string;
  dataVersion: number;
  before: string[];
}

/** Writes this host's own mark; the verb brings it to the other hosts. @throws {Refusal} before anything was changed */
export async function rebuildWitness(
  document: LightningdDocument,
  { reason, ...accepted }: RebuildRequest,
  say: Say,
): Promise<Rebuilt> {
  const seen = await observeWholly(document, say);
  const rebuilt = mayRebuildWitness(seen, accepted);
  const { nodeId, dataVersion } = rebuilt;
  const at = new Date().toISOString();
  const mark: Mark = { node: document.node, nodeId, dataVersion, exact: true, at, source: `rebuild: ${reason}` };
  await replaceMark(mark, (before) => mayReplaceMark(before, mark, document.host, accepted));
  return rebuilt;
}
