/** Patroni's /sync: whom it lets become the primary. Its REST API does not tell it. */
import { etcdctlWords } from "../etcd/members.ts";
import { run } from "../process.ts";

export interface SyncState {
  /** The primary of then; null in a store that has none yet. */
  leader: string | null;
  /** Standbys that it waited for. */
  standbys: string[];
}

/** Undefined for anything that Patroni does not write. */
export function parseSyncState(text: string): SyncState | undefined {
  try {
    const value = JSON.parse(text) as { leader?: string | null; sync_standby?: string | null } | null;
    if (typeof value !== "object" || value === null) return undefined;
    const standbys = (value.sync_standby ?? "").split(",").filter((name) => name !== "");
    return { leader: value.leader ?? null, standbys };
  } catch {
    return undefined;
  }
}

/** As this host's member of etcd has it with a majority; undefined if it does not answer. */
export async function readSyncState(cluster: string): Promise<SyncState | undefined> {
  const { stdout } = await run("etcdctl", [...etcdctlWords(), "get", "--print-value-only", `/twofold/${cluster}/sync`]);
  return parseSyncState(stdout);
}
