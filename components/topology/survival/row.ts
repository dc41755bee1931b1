import { FOR_GOOD, type Lost, RESTARTS, RUNS_ON } from "./words.ts";

/** The failures, in the order of the table. */
export const FAILURES = {
  disk: "a disk of the node's volume dies",
  "two-disks": "two disks of the node's volume die at once",
  "disk-reboot": "a disk of the node's volume dies and the host reboots",
  "replica-disk": "a disk of the replica's volume dies",
  "bit-rot": "bits rot on a disk of the node's volume",
  "power-node": "power cut of the node's host",
  "power-all": "power cut of all hosts at once",
  "node-host": "the node's host is lost",
  "other-host": "another host (replica, standby, witness) is lost",
  site: "a whole site is lost (the worst one)",
  primary: "the primary database is lost",
  network: "the link between the hosts is cut",
  unmounted: "mistake: a start without the volume",
  "old-copy": "mistake: an old database is put back",
  "host-rollback": "mistake: the node's host is put back to an older image",
  "second-start": "mistake: lightningd is started beside the unit",
  "lost-state": "mistake: Pulumi's state is lost, then `pulumi up`",
  "hsm-secret": "hsm_secret is lost",
} as const;
export type Failure = keyof typeof FAILURES;
export const FAILURE_IDS = Object.keys(FAILURES) as Failure[];

/** Repairs that have a test of their own, beside those of the failures that they repair. */
export const REPAIRS = {
  "restore-replica": "./twofold restore replica",
  "degrade-replica": "./twofold degrade replica",
  "degrade-witness": "./twofold degrade witness",
  "witness-rebuild": "./twofold witness rebuild",
  repair: "./twofold repair",
} as const;
export type Repair = keyof typeof REPAIRS;

/** What one failure does to one topology. */
export interface Outcome {
  lost: Lost;
  standsStill: string;
  /** The verb, the steps by hand, or "by itself". */
  repair: string;
  /** The verb among `repair`, whose test is a part of the proof. */
  verb?: Repair;
}

/**
 * What a test of this row holds the node to: "nothing; until ./twofold degrade replica; ./twofold degrade replica". Without the blocks
 * that a stopped node is safe for: they come of its options, and no test waits for them.
 */
export function claimOf({ lost, standsStill, repair }: Outcome): string {
  return [lost, standsStill.replace(/; money is at risk after .*$/, ""), repair].join("; ");
}

/** Goes on without a pause. */
export function runsOn(lost: Lost, repair: string): Outcome {
  return { lost, standsStill: RUNS_ON, repair };
}

export function restarts(lost: Lost): Outcome {
  return { lost, standsStill: RESTARTS, repair: "by itself" };
}

/** This node does not come back. */
export function ended(lost: Lost, repair: string): Outcome {
  return { lost, standsStill: FOR_GOOD, repair };
}
