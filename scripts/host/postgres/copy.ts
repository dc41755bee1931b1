/** A member's own copy of the wallet, and how soon the standbys have what the primary has. Asked on the host itself, for `status`. */
import { loadTemplate } from "../../../templates/load.ts";
import { CommandFailed } from "../process.ts";
import { psql } from "./psql.ts";

export interface MemberCopy {
  /** `vars.data_version` of the wallet; null before the node's first start. */
  dataVersion: number | null;
  /** End of what it has flushed or received of the log (an LSN). */
  position: string;
}

/** A standby that streams from this host. */
export interface FlushLatency {
  name: string;
  /** Commits wait for it. */
  sync: boolean;
  /** Milliseconds from the flush on the primary to the news of the flush on the standby; null if it had not come after 2 s. */
  ms: number | null;
}

/** Undefined if this host's PostgreSQL does not answer, or has no database of the node yet. */
export async function readCopy(role: string): Promise<MemberCopy | undefined> {
  const text = await tryPsql("postgres-copy.sql", { role });
  return text === undefined ? undefined : (JSON.parse(text) as MemberCopy);
}

/** On the primary's host only. Undefined if its PostgreSQL does not answer. */
export async function measureFlush(): Promise<FlushLatency[] | undefined> {
  const text = await tryPsql("postgres-latency.sql");
  return text === undefined ? undefined : (JSON.parse(text) as FlushLatency[]);
}

async function tryPsql(script: string, variables: Record<string, string> = {}): Promise<string | undefined> {
  try {
    return await psql(loadTemplate(script), variables);
  } catch (error) {
    if (error instanceof CommandFailed) return undefined;
    throw error;
  }
}
