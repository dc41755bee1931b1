/**
 * A switchover in the time of PostgreSQL's own. Patroni's POST /switchover leaves a note in etcd, and whoever sees it sleeps for two seconds
 * (4.0.7, ha.py, process_unhealthy_cluster and demote), among them the member that is to be the new primary's standby. Without the note nobody
 * sleeps: a Patroni that ends cleanly stops its primary, which sends its last commits to the standbys, and gives up its lock; of the
 * others only the synchronous standby may take it. systemd starts that Patroni again (Restart=always), which follows the new primary. All of it
 * hangs on one signal, so it does not matter where this program is killed.
 */
import { join } from "node:path";
import { dataDirectory } from "../../../templates/patroni.ts";
import type { PostgresDocument } from "../contract.ts";
import { must } from "../process.ts";
import { readText } from "../read.ts";
import { POSTGRES } from "./facts.ts";
import { psql } from "./psql.ts";

export interface HandOverFacts {
  /** This host's member, if it has one. */
  own: string | undefined;
  primary: string;
  target: string;
  /** Synchronous standbys that take part. */
  ready: string[];
  /** Patroni's maintenance mode, in which it ends without its PostgreSQL. */
  paused: boolean;
}

/** Whether the end of this host's Patroni hands over to the target and to nobody else. Pure. */
export const canHandOver = ({ own, primary, target, ready, paused }: HandOverFacts): boolean =>
  own === primary && !paused && ready.length === 1 && ready[0] === target;

/** On the primary's host. Returns when the end has begun. */
export async function endPrimary(document: PostgresDocument): Promise<void> {
  // What is to be written at the end is written before it, while commits go on.
  await psql("CHECKPOINT");
  const postmaster = await postmasterOf(document);
  await must("systemctl", ["kill", "--kill-whom=main", "--signal=SIGTERM", POSTGRES.unit]);
  // Patroni stops PostgreSQL in just this way (a fast shutdown), but first ends its own API, and then looks once a second whether it is
  // done. It has been told to end by now, so it does not start it again.
  if (postmaster !== undefined) stopFast(postmaster);
}

async function postmasterOf(document: PostgresDocument): Promise<number | undefined> {
  const file = await readText(join(dataDirectory(document), "postmaster.pid"));
  const pid = Number(file?.split("\n")[0]);
  if (!Number.isInteger(pid) || pid <= 1) return undefined;
  return (await readText(`/proc/${pid}/comm`))?.trim() === "postgres" ? pid : undefined;
}

function stopFast(postmaster: number): void {
  try {
    process.kill(postmaster, "SIGINT");
  } catch (error) {
    // Patroni was faster.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
