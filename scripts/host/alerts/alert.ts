/**
 * What a host can be alerted of. A *condition* is what a look sees at this moment; an *alert* is a condition that has lasted, is told, told
 * again, and told to be over (history.ts).
 */

const MINUTE_MS = 60_000;

/** critical: acknowledged commits or the node's money are at risk now; warning: one more failure and they are. */
export type Severity = "critical" | "warning";

interface Kind {
  severity: Severity;
  why: string;
  /** What to do, where the condition itself does not say it. */
  fix: string;
  /** How long it has to be seen without a break before it is told: what heals by itself is no alert. */
  afterMs: number;
}

const kind = (severity: Severity, afterMs: number, why: string, fix: string): Kind => ({ severity, afterMs, why, fix });

/** Every alert by its code. */
export const ALERT_KINDS = {
  VOLUME_NOT_MOUNTED: kind(
    "critical",
    // A host that boots mounts it meanwhile.
    MINUTE_MS / 2,
    "what lies on the volume can't be reached, and the gate will start nothing without it",
    "systemctl status and 'mount MOUNT' on the host say why; README, 'A disk died'",
  ),
  DEVICE_MISSING: kind(
    "critical",
    0,
    "the volume runs on what is left of its mirror: the next disk takes the wallet's copy with it",
    "replace the device: README, 'A disk died'",
  ),
  DEVICE_ERRORS: kind(
    "warning",
    0,
    "a disk that has begun to fail goes on failing, and the mirror covers for one disk only",
    "btrfs scrub start -B MOUNT mends what the mirror has; replace a device whose errors go on (README, 'A disk died'); then btrfs device stats --reset MOUNT",
  ),
  SCRUB_UNCORRECTABLE: kind(
    "critical",
    0,
    "blocks are damaged on every copy of the volume: a file in it can't be read as it was written",
    "journalctl -k -g 'unable to fixup' names the files; restore them from another copy, then scrub again",
  ),
  SCRUB_MENDED: kind(
    "warning",
    0,
    "blocks had rotted and were written anew from their mirror: a disk that has begun to rot goes on",
    "btrfs scrub start -B MOUNT once more: a scrub that finds nothing ends this; replace a device that goes on (README, 'A disk died')",
  ),
  VOLUME_PROFILE: kind(
    "warning",
    30 * MINUTE_MS,
    "blocks of another profile than the declared one may lie on one device only",
    "btrfs balance start -dconvert=PROFILE,soft -mconvert=PROFILE,soft MOUNT, with the declared profile",
  ),
  DISK_NEARLY_FULL: kind(
    "warning",
    0,
    "lightningd, PostgreSQL and etcd end when they can't write",
    "free space or add a device; on BTRFS see 'btrfs filesystem usage' too",
  ),
  REPLICA_NOT_MOUNTED: kind(
    "critical",
    MINUTE_MS / 2,
    "lightningd can't commit without its replica, and the gate starts nothing without it",
    "see that the replica's host is up and lets this one in (systemctl status twofold-replica); for a longer outage ./twofold degrade replica --for 24h --reason …",
  ),
  NODE_FAILED: kind(
    "critical",
    0,
    "systemd does not start the node again: payments in flight expire, and a breach goes unanswered",
    "./twofold gate shows what is in the way; then systemctl start lightningd",
  ),
  NODE_WAITING: kind(
    "critical",
    3 * MINUTE_MS,
    "the node stands still: payments in flight expire, and a breach goes unanswered",
    "./twofold gate and journalctl -u lightningd say what it waits for",
  ),
  NODE_STOPPED: kind(
    "warning",
    15 * MINUTE_MS,
    "the node stands still: payments in flight expire, and a breach goes unanswered",
    "systemctl start lightningd, or ./twofold repair",
  ),
  DEGRADED: kind(
    "warning",
    0,
    "the survival table does not hold: what it counts on is missing",
    "bring back what is missing, then ./twofold degrade end, which copies main to the replica and compares",
  ),
  DEGRADED_ENDS: kind(
    "critical",
    0,
    "after its end a node that runs goes on with one copy, and its next start waits for what is missing",
    "./twofold degrade end; or, if what is missing is not back yet, ./twofold degrade … --for … --reason … once more",
  ),
  DEGRADED_OVER: kind(
    "critical",
    0,
    "its time has run out: a node that runs does so on one copy, its next start waits for what is missing, and nobody has compared the copies",
    "./twofold degrade end copies main to the replica and compares; a longer outage is a new ./twofold degrade",
  ),
  WITNESS_UNREACHABLE: kind(
    "warning",
    15 * MINUTE_MS,
    "the mark there gets old: a state that was rolled back could pass; and the gate waits for it at the next start",
    "see that the host is up and lets this one in (./twofold check); for a longer outage ./twofold degrade witness --for 24h --reason …",
  ),
  CERTIFICATE_ENDS: kind(
    "warning",
    0,
    "after its end the members talk to no one with it: commits stop",
    "./twofold certificates renew",
  ),
  CERTIFICATE_NOT_SHOWN: kind(
    "warning",
    2 * MINUTE_MS,
    "what was renewed is on the disk alone: the one that is shown ends, and with it every connection to this member",
    "./twofold repair, which lets Patroni and PostgreSQL read it",
  ),
  ETCD_DOWN: kind(
    "critical",
    MINUTE_MS / 2,
    "without a majority of etcd the primary steps down and commits stop; each member that is missing brings that nearer",
    "systemctl status etcd and journalctl -u etcd on the host",
  ),
  ETCD_NO_QUORUM: kind(
    "critical",
    MINUTE_MS / 2,
    "without a majority the primary steps down, and commits stop",
    "bring a majority of the members back: README, 'etcd'",
  ),
  ETCD_MEMBER_DOWN: kind(
    "warning",
    MINUTE_MS / 2,
    "one more member less may take the majority, and with it the primary",
    "see that its host is up: systemctl status etcd there",
  ),
  ETCD_ALARM: kind(
    "critical",
    0,
    "a store with an alarm takes no writes: Patroni can't keep its leader",
    "README, 'etcd': make room with etcdctl defrag, then etcdctl alarm disarm",
  ),
  ETCD_NEARLY_FULL: kind(
    "warning",
    0,
    "at its quota the store takes no more writes",
    "find out who writes so much; etcdctl defrag on one member after the other gives room back",
  ),
  ETCD_SNAPSHOT_OLD: kind(
    "warning",
    90 * MINUTE_MS,
    "nobody could see what a store that was lost had said",
    "systemctl status twofold-etcd-snapshot on the host",
  ),
  PG_MEMBER_DOWN: kind(
    "critical",
    MINUTE_MS,
    "one member less: with the next failure commits stop",
    "./twofold status; journalctl -u patroni on the host; a failed rewind, as on a full disk, is tried again by systemctl " +
      "restart patroni there, and not before; ./twofold reinit MEMBER for one that can't follow any more",
  ),
  PG_NO_PRIMARY: kind(
    "critical",
    MINUTE_MS / 2,
    "no member takes writes: the node stands still",
    "./twofold status; Patroni promotes a standby as long as a majority of etcd and a synchronous standby live; else ./twofold failover",
  ),
  PG_NO_STANDBY: kind(
    "critical",
    MINUTE_MS / 2,
    "every commit waits for a synchronous standby, so the node stands still",
    "bring a standby back; Patroni makes it synchronous by itself",
  ),
  PG_PAUSED: kind(
    "warning",
    5 * MINUTE_MS,
    "no standby takes over from a primary that dies, and a member that ends is not started again",
    "patronictl --config-file /etc/patroni/config.yml resume on a member, or ./twofold repair",
  ),
  PG_LAG: kind(
    "warning",
    MINUTE_MS,
    "a standby that is far behind can't take over, and its commits are late",
    "see its network and disk; ./twofold reinit MEMBER for one that can't follow any more",
  ),
  PG_CANCELLED_WAIT: kind(
    "critical",
    0,
    "a commit was reported as done while it was in one place only; lightningd has acted on it, and a failover at that moment would have lost it",
    "find out who cancelled it (journalctl -u patroni) and keep them from it; as soon as a synchronous standby streams again the commit is in both places",
  ),
  PG_SLOT_RETAINS: kind(
    "warning",
    0,
    "log that a standby has not fetched fills the primary's disk up to max_slot_wal_keep_size, and what is beyond it is lost to that standby",
    "bring the standby back, or ./twofold reinit MEMBER; one that is gone for good has to leave the cluster",
  ),
  LOOK_FAILED: kind(
    "warning",
    5 * MINUTE_MS,
    "of what can't be looked at nobody will be told",
    "put right what it says; 'systemctl start twofold-alerts' on the host looks again",
  ),
  ALERT_COMMAND: kind(
    "warning",
    0,
    "nobody is told of the alerts outside this host's journal and ./twofold status",
    "put the command right; ./twofold alerts test calls it",
  ),
  TEST: kind("warning", 0, "somebody wants to know whether alerts arrive (./twofold alerts test)", "nothing"),
} as const satisfies Record<string, Kind>;

export type AlertCode = keyof typeof ALERT_KINDS;

/** What a look sees. Code and subject together are its name. */
export interface Condition {
  code: AlertCode;
  /** The thing it is about: a mount, a device, a member. */
  subject: string;
  value: string;
  /** Where it is better known than by the code alone. */
  fix?: string;
}

/** What was asked about one area of the host. Of a look that failed nothing is known, so it ends no alert. */
export type Seen = { look: string } & ({ conditions: Condition[] } | { failed: string });
