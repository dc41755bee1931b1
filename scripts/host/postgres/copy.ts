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
  /** From the flush on the primary to the news of the flush on the standby; null if that did not come in time. */
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

interface Look {
  asked: string;
  standbys: { name: string; sync: boolean; flushed: boolean; ms: number | null }[];
}

/** On the primary's host only. Undefined if its PostgreSQL does not answer. */
export async function measureFlush(): Promise<FlushLatency[] | undefined> {
  const deadline = Date.now() + ANSWER_MS;
  for (let asked = ""; ; await delay(POLL_MS)) {
    const text = await tryPsql("postgres-latency.sql", { asked });
    if (text === undefined) return undefined;
    const look = JSON.parse(text) as Look;
    asked = look.asked;
    if (look.standbys.every(({ flushed }) => flushed) || Date.now() > deadline)
      return look.standbys.map(({ name, sync, flushed, ms }) => ({ name, sync, ms: flushed ? ms : null }));
  }
}

async function tryPsql(script: string, variables: Record<string, string>): Promise<string | undefined> {
  try {
    return await psql(loadTemplate(script), variables);
  } catch (error) {
    if (error instanceof CommandFailed) return undefined;
    throw error;
  }
}
