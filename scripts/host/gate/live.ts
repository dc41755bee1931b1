/** The wallet of a running node, wherever it is. */
import { hasPostgresWallet, type LightningdDocument } from "../contract.ts";
import { flushedBy, readCluster } from "../postgres/wallet/cluster.ts";
import { readLive } from "./copy.ts";

export interface LiveWallet {
  version: number;
  nodeId: string | undefined;
  /** Of a cluster. */
  systemIdentifier?: string;
  timeline?: number;
}

/** Undefined if it can't be read now, or if what was read is on the primary alone: only what would survive it is the node's state. */
export async function readLiveWallet(document: LightningdDocument): Promise<LiveWallet | undefined> {
  if (!hasPostgresWallet(document))
    return document.wallet.kind === "sqlite" ? readLive(document.wallet.main) : undefined;
  const cluster = await readCluster(document.wallet);
  if (cluster.state !== "primary" || cluster.version === null) return undefined;
  if (flushedBy(cluster).length < document.wallet.synchronousStandbys) return undefined;
  const { version, nodeId, systemIdentifier, timeline } = cluster;
  return { version, nodeId: nodeId ?? undefined, systemIdentifier, timeline };
}
