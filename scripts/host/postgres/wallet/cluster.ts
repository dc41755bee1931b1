/** The wallet's cluster as the gate sees it: one short look at the primary, as the gate's own role. Changes nothing. */

import { loadTemplate } from "../../../../templates/load.ts";
import { connectionWords } from "../../../../templates/postgres-dsn.ts";
import type { PostgresWalletDocument } from "../../contract.ts";
import { run } from "../../process.ts";

/** A standby that streams from the primary. */
export interface Standby {
  name: string;
  /** The primary waits for it. */
  sync: boolean;
  /** It has flushed what the primary had flushed when it was asked. */
  flushed: boolean;
  /** From a commit's write on the primary to its flush there; null on an idle cluster. */
  lagMs: number | null;
}

export type ClusterState =
  | { state: "unreachable"; why: string }
  | {
      state: "primary";
      /** Address of the primary. */
      server: string;
      systemIdentifier: string;
      timeline: number;
      /** The wallet's tables are there. */
      claimed: boolean;
      version: number | null;
      nodeId: string | null;
      /** Flushed position of the primary after the wallet was read (an LSN). */
      asked: string;
      settings: Record<string, string>;
      roleSettings: string[];
      standbys: Standby[];
      /** Sessions of the node's own role. */
      sessions: { pid: number; client: string | null; since: string; application: string }[];
    };

export type Primary = Extract<ClusterState, { state: "primary" }>;

/** Of one look: libpq gives each member 2 s to answer. */
const TIMEOUT_SECONDS = 15;

/** A position to be reached, and the history that it belongs to. */
export interface AskedEarlier {
  asked: string;
  timeline: number;
}

/**
 * @param earlier Position of an earlier look to which the standbys are compared, unless there was a failover since.
 */
export async function readCluster(wallet: PostgresWalletDocument, earlier?: AskedEarlier): Promise<ClusterState> {
  const words = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"];
  const variables = [
    `--set=role=${wallet.role}`,
    `--set=asked=${earlier?.asked ?? ""}`,
    `--set=timeline=${earlier?.timeline ?? ""}`,
  ];
  const connection = connectionWords(wallet, wallet.gateRole, "twofold-gate");
  const ran = await run("timeout", [`${TIMEOUT_SECONDS}`, "psql", ...words, ...variables, `--dbname=${connection}`], {
    input: loadTemplate("postgres-wallet.sql"),
  });
  if (ran.status !== 0)
    return { state: "unreachable", why: whyNot(ran.stderr) || `psql ended with status ${ran.status}` };
  return { state: "primary", ...(JSON.parse(ran.stdout) as Omit<Primary, "state">) };
}

/** psql says the same for each address; each reason once. Pure. */
export function whyNot(stderr: string): string {
  const lines = stderr
    .split("\n")
    .map((line) => line.replace(/^psql: error: /, "").trim())
    .filter((line) => line !== "" && !/^Is the server running/.test(line));
  return [...new Set(lines)].slice(0, 6).join("; ");
}

/** Synchronous standbys that have flushed what the primary had. */
export const flushedBy = ({ standbys }: Primary): Standby[] => standbys.filter(({ sync, flushed }) => sync && flushed);
