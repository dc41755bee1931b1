/** What each failure does to a node whose wallet is in a PostgreSQL cluster with synchronous replication (Patroni, strict mode). */
import { witnessHosts } from "../places.ts";
import type { Topology } from "../schema.ts";
import { ended, type Failure, type Outcome, restarts, runsOn } from "./row.ts";
import { otherSite, type Situation } from "./situation.ts";
import { LOST, standsStillUntil } from "./words.ts";

type PostgresWallet = Extract<Topology["node"]["wallet"], { kind: "postgres" }>;

export function postgresOutcome(
  failure: Failure,
  s: Situation,
  topology: Topology,
  wallet: PostgresWallet,
): Outcome | undefined {
  const cluster = { topology, wallet, s };
  switch (failure) {
    case "disk":
    case "two-disks":
    case "disk-reboot":
      // The node's volume holds hsm_secret and emergency.recover; the wallet is in the cluster.
      if (s.spareDisks >= (failure === "two-disks" ? 2 : 1)) {
        return failure === "disk-reboot"
          ? untilByHand("the disk is replaced", "mount degraded once, straight into btrfs replace", s)
          : runsOn(LOST.nothing, "by hand: btrfs replace, then balance to the profile");
      }
      return secretLost("pulumi up, then hsm_secret from its copy", s);
    case "replica-disk":
      return undefined;
    case "bit-rot":
      return s.spareDisks >= 1
        ? runsOn(LOST.nothing, "by itself, from the other half; weekly scrub")
        : secretLost("hsm_secret from its copy", s);
    case "power-node":
    case "power-all":
      // A commit is acknowledged when primary and standbys have flushed it; both halves survive on their disks.
      return restarts(LOST.nothing);
    case "node-host":
      return hostsLost(cluster, [topology.node.host]);
    case "primary":
      return worst(wallet.members.map((member) => hostsLost(cluster, [member], { onlyDatabase: true })));
    case "other-host":
      return worst(
        [...new Set([...wallet.members, ...wallet.etcd])]
          .filter((host) => host !== topology.node.host)
          .map((host) => hostsLost(cluster, [host])),
      );
    case "site":
      return worst(sitesOf(topology).map((hosts) => hostsLost(cluster, hosts)));
    case "network":
      return untilByHand("the link is back", "restore the link", s);
    case "unmounted":
      return untilByHand("the volume is mounted", "mount it", s);
    case "host-rollback":
      // Its volume holds no wallet, and its mark is an older one: what the cluster has is not below that.
      if (!wallet.members.includes(topology.node.host)) return restarts(LOST.nothing);
      return untilByHand("the cluster has its newest state", "the newest member becomes the primary", s);
    case "old-copy":
      return untilByHand(
        "the cluster has its newest state",
        "the newest data back on one member, the others made anew",
        s,
      );
    case "second-start":
    case "lost-state":
      return runsOn(LOST.nothing, "by itself");
    case "hsm-secret":
      return secretLost("hsm_secret from its copy", s);
  }
}

interface Cluster {
  topology: Topology;
  wallet: PostgresWallet;
  s: Situation;
}

/** What is left when these hosts are gone at once, whichever of the members was the primary. */
function hostsLost({ topology, wallet, s }: Cluster, hosts: string[], { onlyDatabase = false } = {}): Outcome {
  const members = new Set(wallet.members);
  const dead = [...members].filter((member) => hosts.includes(member)).length;
  const alive = members.size - dead;
  const nodeIsLost = !onlyDatabase && hosts.includes(topology.node.host);
  if (nodeIsLost && !s.secretIsSafe) return ended(LOST.all, "none: hsm_secret has no confirmed copy");
  if (alive === 0) {
    return ended(s.recoverElsewhere || !nodeIsLost ? LOST.channels : LOST.channelMoney, "by hand: emergencyrecover");
  }
  // A commit is on the primary and that many standbys; if as many as all of those can be among the dead, it can be gone.
  const lost = dead > wallet.synchronousStandbys ? LOST.commits : LOST.nothing;
  if (lost !== LOST.nothing) {
    return { ...untilByHand("a member is promoted by hand", "promote the newest member", s), lost };
  }
  if (nodeIsLost) {
    // The gate starts no wallet that no witness knows, and by default the node's own host alone keeps the mark.
    const marked = witnessHosts(topology).some((host) => !hosts.includes(host));
    const last = marked ? "then hsm_secret from its copy" : "hsm_secret from its copy, then witness rebuild";
    return untilByHand("the host is made anew", `pulumi up and certificates renew --new-authority, ${last}`, s);
  }
  const etcd = new Set(wallet.etcd);
  const etcdAlive = [...etcd].filter((host) => onlyDatabase || !hosts.includes(host)).length;
  if (etcdAlive * 2 <= etcd.size) return untilByHand("etcd has a majority again", "bring etcd back", s);
  if (alive - 1 < wallet.synchronousStandbys) return untilByHand("a standby is back", "bring the member back", s);
  return restarts(LOST.nothing);
}

/** Groups of hosts that burn down together: hosts without a site are at the same unknown place. */
function sitesOf(topology: Topology): string[][] {
  const names = Object.keys(topology.hosts).sort();
  const groups = names.map((host) => names.filter((other) => other === host || !otherSite(topology, host, other)));
  return [...new Map(groups.map((group) => [group.join(), group])).values()];
}

function secretLost(steps: string, s: Situation): Outcome {
  return s.secretIsSafe
    ? untilByHand("hsm_secret is put back", steps, s)
    : ended(LOST.all, "none: hsm_secret has no confirmed copy");
}

function untilByHand(event: string, steps: string, s: Situation): Outcome {
  return { lost: LOST.nothing, standsStill: standsStillUntil(event, s.patience), repair: `by hand: ${steps}` };
}

/** The worst of several outcomes: by what is lost, then by how long the node stands still. */
function worst(outcomes: Outcome[]): Outcome | undefined {
  const losses = Object.values(LOST);
  const weight = (outcome: Outcome) =>
    losses.indexOf(outcome.lost) * 10 +
    (outcome.standsStill.startsWith("until") ? 1 : outcome.standsStill === "for good" ? 2 : 0);
  return outcomes.sort((a, b) => weight(b) - weight(a))[0];
}
