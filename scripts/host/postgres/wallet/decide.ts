/** The PostgreSQL half of the gate's decision: what has to hold of the cluster before lightningd reads its wallet there. Pure. */
import type { Decision } from "../../gate/decide.ts";
import { type ClusterState, flushedBy, type Primary, type Standby } from "./cluster.ts";

export type ClusterPrimary = Extract<ClusterState, { state: "primary" }>;

export interface ClusterSeen {
  cluster: ClusterState;
  /** Standbys that have to have flushed. */
  required: number;
  /** The cluster that this host's node was made in or taken on to; undefined before. */
  systemIdentifier: string | undefined;
  /** The highest timeline that a witness has seen. */
  timeline: number | undefined;
}

/** Undefined if nothing of the cluster stands in the way. */
export function decideCluster(seen: ClusterSeen): Decision | undefined {
  const { cluster } = seen;
  if (cluster.state === "unreachable")
    return {
      verdict: "wait",
      code: "PG_NO_PRIMARY",
      what: `no member takes writes: ${cluster.why}`,
      consequence: "lightningd would end at once",
      fix: "./twofold status shows the members; Patroni promotes a standby by itself as long as a majority of etcd and a synchronous standby live",
    };
  return sameCluster(seen, cluster) ?? isDurable(cluster) ?? nobodyElse(cluster) ?? standbyHasIt(seen, cluster);
}

function sameCluster({ systemIdentifier, timeline }: ClusterSeen, cluster: ClusterPrimary): Decision | undefined {
  if (systemIdentifier !== undefined && systemIdentifier !== cluster.systemIdentifier)
    return {
      verdict: "refuse",
      code: "PG_OTHER_CLUSTER",
      what: `the primary at ${cluster.server} belongs to the cluster with system identifier ${cluster.systemIdentifier}; the node's is ${systemIdentifier}`,
      consequence: "lightningd would begin an empty wallet there, or go on from a copy of another time",
      fix: "bring the members of the node's own cluster back; a cluster that was made from a copy is taken on with ./twofold witness rebuild --reason …",
    };
  if (timeline !== undefined && cluster.timeline < timeline)
    return {
      verdict: "wait",
      refuseAfterMs: patience(cluster),
      code: "PG_OLD_TIMELINE",
      what: `the primary at ${cluster.server} is on timeline ${cluster.timeline}; the witness has seen ${timeline}${unseenWords(cluster)}`,
      consequence:
        "it missed a failover, so it may lack what was acknowledged since: an old state makes the peer take all the money",
      fix: "stop Patroni and PostgreSQL on that member; the newest member has to be primary (./twofold status)",
    };
  return undefined;
}

/** How long an old state is looked at again, in milliseconds, before the gate refuses. */
const PATIENCE = {
  /** The newer primary is moving at this moment. */
  allSeen: 30_000,
  /** The newer primary may be the one that is not seen: its host, or the way to it, is on its way back. */
  someUnseen: 10 * 60_000,
} as const;

/** A primary that is older than what was seen is no contradiction yet: a newer one may come back. Pure. */
export const patience = ({ unseen }: ClusterPrimary): number =>
  unseen.length > 0 ? PATIENCE.someUnseen : PATIENCE.allSeen;

export const unseenWords = ({ unseen }: ClusterPrimary): string =>
  unseen.length > 0 ? `; not seen: ${unseen.join(", ")}` : "";

function isDurable({ settings, roleSettings, server }: Primary): Decision | undefined {
  const wrong = [
    ...(["fsync", "full_page_writes"] as const)
      .filter((name) => settings[name] !== "on")
      .map((name) => `${name} is ${settings[name]}`),
    ...(roleSettings.includes("synchronous_commit=on") ? [] : ["the node's role has no synchronous_commit=on"]),
    ...(settings.synchronous_standby_names ? [] : ["synchronous_standby_names is empty"]),
  ];
  if (wrong.length === 0) return undefined;
  // Patroni empties and fills the names by itself; the rest was changed by somebody.
  const transient = wrong.length === 1 && !settings.synchronous_standby_names;
  return {
    verdict: transient ? "wait" : "refuse",
    code: "PG_NOT_DURABLE",
    what: `the primary at ${server} would acknowledge commits that are in one place only: ${wrong.join(", ")}`,
    consequence: "a commit that was acknowledged could be lost with one host",
    fix: "./twofold repair puts the settings back; ./twofold status shows the members",
  };
}

function nobodyElse({ sessions, version, latest, server }: Primary): Decision | undefined {
  const [session] = sessions;
  if (session === undefined)
    return version === latest
      ? undefined
      : {
          verdict: "wait",
          code: "PG_IN_USE",
          what: `the wallet on the primary at ${server} went from data_version ${version} to ${latest} during the look`,
          consequence: "two daemons on one wallet sign contradicting states, and the peer takes the money",
          fix: "find out who writes to it: ./twofold status shows the members, pg_stat_activity on the primary who is connected",
        };
  return {
    verdict: "wait",
    code: "PG_IN_USE",
    what: `the node's role is logged in: process ${session.pid} on the primary, from ${session.client ?? "the host itself"} since ${session.since} (${session.application || "no name"})`,
    consequence: "two daemons on one wallet sign contradicting states, and the peer takes the money",
    fix: "stop it; the session of a host that died ends by itself after about 11 s",
  };
}

/**
 * A commit that waited for its standby when the primary restarted is visible afterwards, though it may be in one place only. lightningd must
 * not act on it before a standby has it.
 */
function standbyHasIt({ required }: ClusterSeen, cluster: Primary): Decision | undefined {
  const flushed = flushedBy(cluster);
  if (flushed.length >= required) return undefined;
  return {
    verdict: "wait",
    code: "PG_NO_STANDBY",
    what: `${flushed.length} of ${required} synchronous standbys have flushed what the primary at ${cluster.server} had at ${cluster.asked}: ${standbyWords(cluster.standbys)}`,
    consequence: "lightningd could act on a commit that a failover does not have",
    fix: "bring a standby back; Patroni makes it synchronous by itself",
  };
}

const standbyWords = (standbys: Standby[]): string =>
  standbys
    .map(
      ({ name, sync, flushed }) => `${name} is ${sync ? "synchronous" : "not synchronous"}${flushed ? "" : ", behind"}`,
    )
    .join("; ") || "no standby is connected";
