/** What each failure does to a node whose wallet is in SQLite. */
import { ended, type Failure, type Outcome, REPAIRS, type Repair, restarts, runsOn } from "./row.ts";
import type { Situation } from "./situation.ts";
import { LOST, type Lost, RUNS_ON_BUT, standsStillUntil } from "./words.ts";

const REPLACE = "by hand: btrfs replace, then balance to the profile";
const SECRET_FIRST = "hsm_secret from its copy, then";

export function sqliteOutcome(failure: Failure, s: Situation): Outcome | undefined {
  switch (failure) {
    case "disk":
      return s.spareDisks >= 1 ? runsOn(LOST.nothing, REPLACE) : volumeLost(s);
    case "two-disks":
      return s.spareDisks >= 2 ? runsOn(LOST.nothing, REPLACE) : volumeLost(s);
    case "disk-reboot":
      // Without "degraded" in fstab the volume is not mounted at that boot, and the gate keeps lightningd from starting without it.
      return s.spareDisks >= 1
        ? {
            lost: LOST.nothing,
            standsStill: standsStillUntil("the disk is replaced", s.patience),
            repair: "by hand: mount degraded once, straight into btrfs replace",
          }
        : volumeLost(s);
    case "replica-disk":
      if (s.via === undefined) return undefined;
      return s.spareReplicaDisks >= 1 ? runsOn(LOST.nothing, REPLACE) : replicaLost(s);
    case "bit-rot":
      return s.spareDisks >= 1 ? runsOn(LOST.nothing, "by itself, from the other half; weekly scrub") : rotten(s);
    case "power-node":
      if (s.mode === "wal") return restarts(LOST.nothing);
      // The unlinked journal comes back and takes main's last commit with it; a replica whose host had power still has it.
      return s.remote ? verb(LOST.nothing, "restore-replica", s) : lastCommitLost(s);
    case "power-all":
      return s.mode === "wal" ? restarts(LOST.nothing) : lastCommitLost(s);
    case "node-host":
      return s.remote ? fromReplica(s) : ended(lostWithEveryCopy(s, s.recoverElsewhere), FROM_PAPER);
    case "other-host":
      return s.remote ? replicaLost(s) : withoutWitness(s);
    case "site":
      return s.remoteSite ? fromReplica(s) : ended(lostWithEveryCopy(s, s.recoverAtOtherSite), FROM_PAPER);
    case "primary":
      return s.via === undefined ? ended(LOST.channels, EMERGENCY) : verb(LOST.nothing, "restore-replica", s);
    case "network":
      return s.remote
        ? {
            ...replicaLost(s),
            standsStill: standsStillUntil(`the link is back or ${REPAIRS["degrade-replica"]}`, s.patience),
          }
        : withoutWitness(s);
    case "unmounted":
      // The gate waits for the mount, and starts lightningd when it is there.
      return {
        lost: LOST.nothing,
        standsStill: standsStillUntil("the volume is mounted", s.patience),
        repair: REPAIRS.repair,
        verb: "repair",
      };
    case "old-copy":
      return s.via === undefined ? ended(LOST.channels, EMERGENCY) : verb(LOST.nothing, "restore-replica", s);
    case "host-rollback":
      if (s.remote) return verb(LOST.nothing, "restore-replica", s);
      // Only a mark that was not put back with the host tells that its state is an old one; without it the old state starts.
      return s.witnessElsewhere
        ? ended(LOST.channels, EMERGENCY)
        : ended(LOST.channelMoney, "none: nothing notices it");
    case "second-start":
    case "lost-state":
      return runsOn(LOST.nothing, "by itself");
    case "hsm-secret":
      return s.secretIsSafe
        ? {
            lost: LOST.nothing,
            standsStill: standsStillUntil("hsm_secret is put back", s.patience),
            repair: "by hand: hsm_secret from its copy",
          }
        : ended(LOST.all, "none: it has no confirmed copy");
  }
}

const FROM_PAPER = "by hand: a new node, and what hsm_secret alone brings back";
const EMERGENCY = "by hand: lightning-cli emergencyrecover";

/** What is lost at most when every copy of the wallet is gone, and with it the lightning directory. */
function lostWithEveryCopy(s: Situation, recoverFile: boolean): Lost {
  if (!s.secretIsSafe) return LOST.all;
  return recoverFile ? LOST.channels : LOST.channelMoney;
}

/** The node's volume is gone, and hsm_secret with it: a replica has the wallet alone. */
function volumeLost(s: Situation): Outcome {
  return s.via === undefined ? ended(lostWithEveryCopy(s, s.recoverElsewhere), FROM_PAPER) : fromReplica(s);
}

/** Everything of the node is made anew from the replica; without hsm_secret no replica is worth anything. */
function fromReplica(s: Situation): Outcome {
  if (!s.secretIsSafe) return ended(LOST.all, "none: hsm_secret has no confirmed copy");
  const outcome = verb(LOST.nothing, "restore-replica", s);
  return { ...outcome, repair: `pulumi up, ${SECRET_FIRST} ${outcome.repair}` };
}

/** lightningd aborts when it cannot write the replica, and goes on without it only when it is told to. */
function replicaLost(s: Situation): Outcome {
  return verb(LOST.nothing, "degrade-replica", s);
}

/** On one device rot is noticed, by checksums, and not repaired; it may hit the database or hsm_secret. */
function rotten(s: Situation): Outcome {
  if (!s.secretIsSafe) return ended(LOST.all, "none: hsm_secret has no confirmed copy");
  return s.via === undefined ? ended(LOST.channels, EMERGENCY) : verb(LOST.nothing, "restore-replica", s);
}

/** A mark may have seen the commit that is gone; then the gate refuses until an operator has looked at it. */
function lastCommitLost(s: Situation): Outcome {
  return verb(LOST.lastCommit, "witness-rebuild", s);
}

/** A running node does without its witnesses; a start asks them. */
function withoutWitness(s: Situation): Outcome | undefined {
  if (!s.witnessElsewhere) return undefined;
  return {
    lost: LOST.nothing,
    standsStill: RUNS_ON_BUT,
    repair: REPAIRS["degrade-witness"],
    verb: "degrade-witness",
  };
}

function verb(lost: Lost, name: Repair, s: Situation): Outcome {
  return { lost, standsStill: standsStillUntil(REPAIRS[name], s.patience), repair: REPAIRS[name], verb: name };
}
