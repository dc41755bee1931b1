/** What runs as the node's user under the start lock; each prints one line of JSON for the root side, which writes the audit. */
import type { LightningdDocument, SqliteNodeDocument } from "../contract.ts";
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
  if (peek?.kind === "peer") {
    const { sessions = 0 } = parsePeek(await askPeer(peek.access, "peek", { check: "none" }));
    nobodyElseReaches(peek.access.host, sessions);
  }
  await requireRoom(replica.path, document.wallet.main);
  say(`copying the replica (data_version ${replica.version}, ${replica.bytes} bytes) to ${document.wallet.main}`);
  const { version, nodeId } = replica;
  return copyWallet(replica.path, document.wallet.main, { version, nodeId, journalMode: document.wallet.journalMode });
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
