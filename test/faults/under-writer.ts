/** Faults of a PostgreSQL cluster while a writer records what lightningd acknowledges, and what the primary that is left has of it. */
import { ACCOUNT } from "../../components/topology/places.ts";
import { TLS, tlsFiles } from "../../scripts/host/contract.ts";
import { bootSeconds, SHORT_SECONDS, STARTS_FILE, type Starts } from "../../scripts/host/gate/back-off.ts";
import { eventually } from "../helpers/lab.ts";
import type { Ran } from "../helpers/run-program.ts";
import { type Cluster, longestGap } from "./cluster.ts";
import { cutLink } from "./links.ts";
import type { Machine } from "./machine.ts";
import { killHost, powerOn } from "./power.ts";
import { type Acknowledged, Recorder } from "./recorder.ts";

/** Seconds for the cluster to be whole again after a host came back. */
export const WHOLE_SECONDS = 240;
/** Seconds for the first acknowledgement after a fault; Patroni's ttl is 20 s. */
export const RECOVER_SECONDS = 120;
/** Acknowledged invoices before a fault, and after it. */
const INVOICES = 20;

export interface Witnessed {
  acknowledged: number;
  records: Acknowledged[];
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
    await runsForAWhile(cluster);
    await fault(await cluster.primary(), recorder);
    await recorder.more(INVOICES, RECOVER_SECONDS);
  } finally {
    await recorder.stop();
  }
  return witnessed(cluster, recorder);
}

/** A lightningd that ends again and again right after its start is braked by the gate; these faults are to meet a node that runs. */
async function runsForAWhile({ node }: Cluster): Promise<void> {
  await eventually("lightningd has run for a while", RECOVER_SECONDS, async () => {
    const { at } = JSON.parse(await node.exec("cat", STARTS_FILE)) as Starts;
    return bootSeconds() - at > SHORT_SECONDS + 1;
  });
}

async function witnessed(cluster: Cluster, recorder: Recorder): Promise<Witnessed> {
  const present = await cluster.labels(await cluster.awaitPrimary(cluster.members, RECOVER_SECONDS));
  const labels = recorder.acknowledged.map(({ label }) => label);
  return {
    acknowledged: labels.length,
    records: recorder.acknowledged,
    lost: labels.filter((label) => !present.has(label)),
    gap: longestGap(recorder.acknowledged),
  };
}

/** Where lightningd speaks of its database: the session of its role on `primary`, if there is one. */
export async function sessionsOf(cluster: Cluster, primary: Machine): Promise<string[]> {
  const role = cluster.topology.node.name;
  const text = await cluster.sql(primary, `SELECT pid FROM pg_stat_activity WHERE usename = '${role}'`);
  return text.split("\n").filter((line) => line !== "");
}

/** Tries to log in from the node's host with the node's certificate, as a second daemon would. */
export function secondSession(cluster: Cluster, role: string, statement = "SELECT 1"): Promise<Ran> {
  const { ca } = TLS;
  const { certificate, key } = tlsFiles("node");
  const hosts = cluster.members.map(({ name }) => name).join(",");
  const login = `host=${hosts} target_session_attrs=primary dbname=${cluster.topology.node.name} user=${role}`;
  const proof = `sslmode=verify-full sslrootcert=${ca} sslcert=${certificate} sslkey=${key}`;
  const psql = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", `--command=${statement}`];
  const words = ["runuser", "--user", ACCOUNT.name, "--", ...psql, `--dbname=${login} ${proof}`];
  return cluster.lab.tryExec(cluster.node.name, ...words);
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
