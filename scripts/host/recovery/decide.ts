/** Whether a repair may be done, from what the gate sees. Pure. @throws {Refusal} */
import { decide, degradedHolds, highestMark } from "../gate/decide.ts";
import type { CopyState, Observed } from "../gate/observed.ts";
import { Refusal } from "../stage.ts";

type Wallet = Extract<CopyState, { state: "wallet" }>;

function refuse(code: string, what: string, received: string, why: string, fix: string): never {
  throw new Refusal({ code, what, received, why, fix });
}

const words = (copy: CopyState | undefined) =>
  copy === undefined ? "none declared" : copy.state === "wallet" ? `data_version ${copy.version}` : copy.state;

function witnessWords(seen: Observed): string {
  const highest = highestMark(seen.witnesses);
  return highest ? `data_version ${highest.mark.dataVersion} on ${highest.host}` : "none";
}

const values = (seen: Observed) =>
  `main: ${words(seen.main)}; replica: ${words(seen.replica)}; witness: ${witnessWords(seen)}`;

function nobodyIsThere(seen: Observed): void {
  const [other] = seen.others;
  if (other !== undefined)
    refuse(
      "NODE-NOT-STOPPED",
      "the wallet is in use",
      `process ${other.pid} ${other.what}`,
      "a file that is written to can't be copied",
      `stop it: kill ${other.pid}`,
    );
}

/** The replica may take main's place: it is this node's, whole, as new as anything that is known, and newer or better than main. */
export function mayRestoreReplica(seen: Observed): Wallet {
  nobodyIsThere(seen);
  const { main, replica } = seen;
  if (replica?.state !== "wallet")
    return refuse(
      "RESTORE-NO-REPLICA",
      "there is no readable replica to restore from",
      replica === undefined ? "none declared" : "why" in replica ? `${replica.state}: ${replica.why}` : replica.state,
      "main would be replaced by nothing",
      "bring the replica back, or restore another copy",
    );
  const nodeId = seen.identity ?? highestMark(seen.witnesses)?.mark.nodeId ?? secretNodeId(seen);
  if (replica.nodeId === undefined || (nodeId !== undefined && replica.nodeId !== nodeId))
    refuse(
      "RESTORE-OTHER-NODE",
      "the replica belongs to another node",
      `${replica.nodeId ?? "no node"}, expected ${nodeId}`,
      "another node would run in this one's place",
      "put this node's own replica back",
    );
  const silent = seen.witnesses.find((witness) => witness.state === "unreachable");
  const highest = highestMark(seen.witnesses);
  // As at a start: an operator may go on without a witness that is dead, never without any.
  if (silent?.state === "unreachable" && !(degradedHolds(seen) && highest !== undefined))
    refuse(
      "RESTORE-WITNESS-SILENT",
      `the witness on ${silent.host} does not answer`,
      silent.why,
      "the replica could be older than what the node has acknowledged",
      highest === undefined
        ? `bring ${silent.host} back first: no other place has a mark`
        : `bring ${silent.host} back first; if it is dead: ./twofold degrade witness --for 24h --reason …, and repeat; the replica is then held against the mark of ${highest.host} (${highest.mark.dataVersion})`,
    );
  if (highest !== undefined && highest.mark.dataVersion > replica.version)
    refuse(
      "RESTORE-ROLLED-BACK",
      "the replica is older than what the node has acknowledged",
      values(seen),
      "an old state makes the peer take all the money",
      "find a newer copy: ./twofold status shows every copy",
    );
  if (main.state === "unreachable")
    refuse(
      "RESTORE-MAIN-UNREACHABLE",
      "main's place can't be seen",
      main.why,
      "main could be newer than the replica",
      "mount its volume first",
    );
  if (main.state === "wallet" && main.nodeId === replica.nodeId && main.version >= replica.version)
    refuse(
      "RESTORE-MAIN-NOT-OLDER",
      "main is not older than the replica",
      values(seen),
      "nothing would be gained, and commits could be lost",
      "./twofold gate says what is in the way of a start",
    );
  return replica;
}

/** Main may be copied over the replica: but for the replica, the gate would let the node start. */
export function mayResyncReplica(seen: Observed): Wallet {
  nobodyIsThere(seen);
  if (seen.replica === undefined)
    refuse(
      "RESYNC-NO-REPLICA",
      "the topology declares no replica",
      "none",
      "there is nowhere to copy main to",
      "declare wallet.replica and run pulumi up",
    );
  if (seen.replica.state === "unreachable")
    refuse(
      "RESYNC-REPLICA-UNREACHABLE",
      "the replica's place can't be seen",
      seen.replica.why,
      "main would be copied to another place",
      "bring its host and mount back first",
    );
  if (
    seen.replica.state === "wallet" &&
    seen.main.state === "wallet" &&
    seen.replica.nodeId === seen.main.nodeId &&
    seen.replica.version > seen.main.version
  )
    refuse(
      "RESYNC-REPLICA-NEWER",
      "the replica is newer than main",
      values(seen),
      "main has lost acknowledged commits, and the replica is where they are",
      "./twofold restore replica",
    );
  const decision = decide({ ...seen, replica: undefined, degraded: undefined });
  if (decision.verdict !== "start")
    refuse(
      "RESYNC-MAIN-NOT-RIGHT",
      `main is not fit to be copied (${decision.code}): ${decision.what}`,
      values(seen),
      decision.consequence,
      decision.fix,
    );
  if (seen.main.state !== "wallet") throw new Error(`recovery: main is ${seen.main.state} though the gate would start`);
  return seen.main;
}

/** What the rebuilt witness will say. */
export interface RebuiltMark {
  nodeId: string;
  dataVersion: number;
  /** The marks that this one takes the place of, in words for the audit. */
  before: string[];
}

/**
 * The mark may be made anew from main, the newest of all copies.
 * @param lowerTo the version that an operator has named, to take a mark down to it; undefined to only fill gaps
 */
export function mayRebuildWitness(seen: Observed, lowerTo: number | undefined): RebuiltMark {
  nobodyIsThere(seen);
  const { main, replica, secret } = seen;
  if (main.state !== "wallet" || main.nodeId === undefined)
    return refuse(
      "REBUILD-NO-MAIN",
      "main is no wallet of a node",
      "why" in main ? `${main.state}: ${main.why}` : main.state,
      "the mark is made from main",
      "restore main first",
    );
  if (replica !== undefined && "why" in replica)
    refuse(
      "REBUILD-REPLICA",
      "the replica can't be compared",
      `${replica.state}: ${replica.why}`,
      "it could be newer than main",
      "bring it back first, or take it out of the topology",
    );
  if (replica?.state === "wallet" && (replica.nodeId !== main.nodeId || replica.version > main.version))
    refuse(
      "REBUILD-REPLICA-NEWER",
      "the replica is newer than main, or of another node",
      values(seen),
      "main has lost acknowledged commits",
      "./twofold restore replica",
    );
  if (
    secret.state !== "present" ||
    (secret.nodeId !== undefined && secret.nodeId !== main.nodeId) ||
    secret.kind === "invalid"
  )
    refuse(
      "REBUILD-SECRET",
      "hsm_secret does not fit the wallet",
      secret.state === "absent" ? "missing" : (secret.why ?? `node ${"nodeId" in secret ? secret.nodeId : "unknown"}`),
      "the wallet could be another node's",
      "bring this node's own hsm_secret back",
    );
  const known = seen.witnesses.filter((witness) => witness.state === "mark" || witness.state === "damaged");
  const silent = seen.witnesses.find((witness) => witness.state === "unreachable");
  if (silent?.state === "unreachable" && lowerTo !== main.version)
    refuse(
      "REBUILD-WITNESS-SILENT",
      `the witness on ${silent.host} does not answer`,
      silent.why,
      "it may have seen more than main has: an old state makes the peer take all the money",
      `bring ${silent.host} back first; if it is gone for good and nothing newer than main can be, repeat with --lower-to ${main.version}`,
    );
  const higher = known.some(
    (witness) =>
      witness.state === "mark" && witness.mark.nodeId === main.nodeId && witness.mark.dataVersion > main.version,
  );
  if (higher && lowerTo !== main.version)
    refuse(
      "REBUILD-LOWERS",
      "a witness has seen more than main has, so this would take its mark down",
      values(seen),
      "main is older than what the node has acknowledged: an old state makes the peer take all the money",
      `restore a newer copy; if there is none and you accept the loss, repeat with --lower-to ${main.version}`,
    );
  return {
    nodeId: main.nodeId,
    dataVersion: main.version,
    before: known.map((witness) =>
      witness.state === "mark"
        ? `${witness.host}: data_version ${witness.mark.dataVersion} of ${witness.mark.nodeId}`
        : `${witness.host}: ${witness.why}`,
    ),
  };
}

function secretNodeId(seen: Observed): string | undefined {
  return seen.secret.state === "present" ? seen.secret.nodeId : undefined;
}
