/** A member's own copy of the wallet, and how soon the standbys have what the primary has. Asked on the host itself, for `status`. */
import { setTimeout as delay } from "node:timers/promises";
import { loadTemplate } from "../../../templates/load.ts";
import { CommandFailed } from "../process.ts";
import { psql } from "./psql.ts";

export interface MemberCopy {
  /** `vars.data_version` of the wallet; null before the node's first start. */
  dataVersion: number | null;
  /** End of what it has flushed or received of the log (an LSN). */
  position: string;
}

export interface FlushLatency {
  name: string;
  /** Commits wait for it. */
  sync: boolean;
  /** Whether it had flushed, within the time given, what the primary had when asked. */
  flushed: boolean;
  /**
   * From the flush on the primary to the news of the flush on the standby; null if that did not come in time, or if PostgreSQL
   * had no figure (a standby's next reply without news takes `pg_stat_replication.flush_lag` away).
   */
  ms: number | null;
}

/** A standby that streams has flushed after milliseconds. */
const ANSWER_MS = 2000;
const POLL_MS = 50;

/** Undefined if this host's PostgreSQL does not answer, or has no database of the node yet. */
export async function readCopy(role: string): Promise<MemberCopy | undefined> {
  const text = await tryPsql("postgres-copy.sql", { role });
  return text === undefined ? undefined : (JSON.parse(text) as MemberCopy);
}

/** How far each standby is with a marker in the log. */
export interface FlushLook {
  /** The marker (an LSN). */
  asked: string;
  standbys: FlushLatency[];
}

/** On the primary's host only. Undefined if its PostgreSQL does not answer. */
export async function measureFlush(
  look: (asked: string) => Promise<FlushLook | undefined> = lookAtFlush,
): Promise<FlushLatency[] | undefined> {
  const deadline = Date.now() + ANSWER_MS;
  const measured = new Map<string, number>();
  for (let asked = ""; ; await delay(POLL_MS)) {
    const seen = await look(asked);
    if (seen === undefined) return undefined;
    for (const { name, flushed, ms } of seen.standbys) if (flushed && ms !== null) measured.set(name, ms);
    const isMeasured = seen.standbys.every(({ name }) => measured.has(name));
    if (isMeasured || Date.now() > deadline)
      return seen.standbys.map((standby) => ({
        ...standby,
        flushed: standby.flushed || measured.has(standby.name),
        ms: measured.get(standby.name) ?? null,
      }));
    // Without a figure though it is flushed, only another marker brings one.
    asked = seen.standbys.every(({ flushed }) => flushed) ? "" : seen.asked;
  }
}

async function lookAtFlush(asked: string): Promise<FlushLook | undefined> {
  const text = await tryPsql("postgres-latency.sql", { asked });
  return text === undefined ? undefined : (JSON.parse(text) as FlushLook);
}

async function tryPsql(script: string, variables: Record<string, string>): Promise<string | undefined> {
  try {
    return await psql(loadTemplate(script), variables);
  } catch (error) {
    if (error instanceof CommandFailed) return undefined;
    throw error;
  }
}
