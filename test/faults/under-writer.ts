/** Faults of a PostgreSQL cluster while a writer records what lightningd acknowledges, and what the primary that is left has of it. */
import { eventually } from "../helpers/lab.ts";
import { type Cluster, longestGap } from "./cluster.ts";
import { cutLink } from "./links.ts";
import type { Machine } from "./machine.ts";
import { killHost, powerOn } from "./power.ts";
import { Recorder } from "./recorder.ts";

/** Seconds for the cluster to be whole again after a host came back. */
export const WHOLE_SECONDS = 240;
/** Seconds for the first acknowledgement after a fault; Patroni's ttl is 20 s. */
export const RECOVER_SECONDS = 120;
/** Acknowledged invoices before a fault, and after it. */
const INVOICES = 20;

export interface Witnessed {
  acknowledged: number;
  /** Acknowledged labels that the primary does not have. */
  lost: string[];
  /** Longest time between two acknowledgements, in seconds. */
  gap: number;
}

/** Writes before, during and after `fault`. */
export async function underWriter(
  cluster: Cluster,
  seed: string,
  fault: (primary: Machine, recorder: Recorder) => Promise<void>,
): Promise<Witnessed> {
  await cluster.whole(WHOLE_SECONDS);
  const recorder = await Recorder.start(cluster.node, cluster.topology, seed, undefined, RECOVER_SECONDS);
  try {
    await recorder.more(INVOICES, RECOVER_SECONDS);
    await fault(await cluster.primary(), recorder);
    await recorder.more(INVOICES, RECOVER_SECONDS);
  } finally {
    await recorder.stop();
  }
  return witnessed(cluster, recorder);
}

async function witnessed(cluster: Cluster, recorder: Recorder): Promise<Witnessed> {
  const present = await cluster.labels(await cluster.awaitPrimary(cluster.members, RECOVER_SECONDS));
  const labels = recorder.acknowledged.map(({ label }) => label);
  return {
    acknowledged: labels.length,
    lost: labels.filter((label) => !present.has(label)),
    gap: longestGap(recorder.acknowledged),
  };
}

/** Lets `seconds` pass and returns the labels that were acknowledged meanwhile. */
export async function acknowledgedDuring(recorder: Recorder, seconds: number): Promise<string[]> {
  const before = recorder.acknowledged.length;
  const until = Date.now() + seconds * 1000;
  await eventually(`${seconds} s have passed`, seconds + 10, async () => Date.now() > until);
  return recorder.acknowledged.slice(before).map(({ label }) => label);
}

/** The primary alone on its side of the network for five seconds, and then dead: what it acknowledged meanwhile is nowhere else. */
export async function isolateAndKill(
  cluster: Cluster,
  seed: string,
  { synchronous = true } = {},
): Promise<Witnessed & { alone: string[] }> {
  await cluster.whole(WHOLE_SECONDS, synchronous);
  const primary = await cluster.primary();
  const others = cluster.others(primary);
  const recorder = await Recorder.start(cluster.node, cluster.topology, seed, undefined, RECOVER_SECONDS);
  let alone: string[] = [];
  try {
    await recorder.more(INVOICES, RECOVER_SECONDS);
    for (const other of others) await cutLink(primary, other);
    // Longer than a commit's way to its standby, shorter than the time after which Patroni gives up the lock.
    alone = await acknowledgedDuring(recorder, 5);
    await killHost(primary);
    await cluster.awaitPrimary(others, RECOVER_SECONDS);
    // Without a synchronous standby the gate does not let lightningd start again.
    if (synchronous) await recorder.more(1, RECOVER_SECONDS);
  } finally {
    await recorder.stop();
    await powerOn([primary]);
  }
  return { ...(await witnessed(cluster, recorder)), alone };
}
