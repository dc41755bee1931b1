/** Whether a repair may be done, from what the gate sees. Pure. @throws {Refusal} */
import { decide, degradedHolds, highestMark } from "../gate/decide.ts";
import type { CopyState, Observed } from "../gate/observed.ts";
import { Refusal } from "../stage.ts";
import type { Mark } from "../witness/mark.ts";
import type { StoredMark } from "../witness/store.ts";

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

/**
 * Nobody but this host's own mount reaches the replica. A former host of the node that is cut off from its operator may still write to it, and
 * would go on as a second node beside the one that is restored.
 * @param sessions SFTP sessions of the replica's account on `host`
 */
export function nobodyElseReaches(host: string, sessions: number): void {
  if (sessions <= 1) return;
  refuse(
    "RESTORE-REPLICA-IN-USE",
    `somebody beside this host's mount is logged in to the replica on ${host}`,
    `${sessions} SFTP sessions of its account for longer than that of a host without power lasts, expected 1`,
    "a former host of this node may still run on it: two nodes with one wallet sign contradicting states, and the peer takes the money",
    `see who they are (on ${host}: ps -eo pid,lstart,args | grep internal-sftp; ss -tnp | grep sshd), make sure that no other host runs the node, and end them`,
  );
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

/** What an operator gives up by name, so that a rebuild may take a mark's place that says something else than main. */
export interface Accepted {
  /** Main's version: nothing newer than it is to be found any more. */
  lowerTo?: number;
  /** Node ids of marks that are another node's than main's. */
  replaceNodes: readonly string[];
}

/** The mark may be made anew from main, the newest of all copies. */
export function mayRebuildWitness(seen: Observed, { lowerTo, replaceNodes }: Accepted): RebuiltMark {
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
  if (seen.identity !== undefined && seen.identity !== main.nodeId)
    refuse(
      "REBUILD-OTHER-NODE",
      `main is not the wallet of ${seen.node}, as this host knows it`,
      `node ${main.nodeId}, expected ${seen.identity}`,
      "the marks of the right node would be gone, and another node would run in its place",
      "put this node's own wallet back, or declare the other node in a topology of its own",
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
  const named = lowerTo === main.version;
  if ((replica?.state === "absent" || replica?.state === "blank") && !named)
    refuse(
      "REBUILD-REPLICA-MISSING",
      `the declared replica ${replica.state === "absent" ? "is missing" : "has no wallet in it"}`,
      values(seen),
      "it may have held more than main has: an old state makes the peer take all the money",
      `look for the file first; if there never was one, or nothing newer than main can be, repeat with --lower-to ${main.version}`,
    );
  const known = seen.witnesses.filter((witness) => witness.state === "mark" || witness.state === "damaged");
  const silent = seen.witnesses.find((witness) => witness.state === "unreachable");
  if (silent?.state === "unreachable" && !named)
    refuse(
      "REBUILD-WITNESS-SILENT",
      `the witness on ${silent.host} does not answer`,
      silent.why,
      "it may have seen more than main has: an old state makes the peer take all the money",
      `bring ${silent.host} back first; if it is gone for good and nothing newer than main can be, repeat with --lower-to ${main.version}`,
    );
  for (const witness of known)
    if (witness.state === "mark") mayReplaceNode(witness.mark, main.nodeId, witness.host, replaceNodes);
  const higher = known.some(
    (witness) =>
      witness.state === "mark" && witness.mark.nodeId === main.nodeId && witness.mark.dataVersion > main.version,
  );
  if (higher && !named)
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

/**
 * The mark that is here may have come after the rebuild had asked for it, so it is compared again: it goes down only to what the operator
 * named. A host that was silent to the rebuild is asked here for the first time.
 */
export function mayReplaceMark(
  before: StoredMark,
  mark: Mark,
  host: string,
  { lowerTo, replaceNodes }: Accepted,
): void {
  if (before.state !== "mark") return;
  mayReplaceNode(before.mark, mark.nodeId, host, replaceNodes);
  if (before.mark.nodeId !== mark.nodeId) return;
  if (before.mark.dataVersion <= mark.dataVersion || lowerTo === mark.dataVersion) return;
  refuse(
    "WITNESS-REPLACE-LOWERS",
    `the mark on ${host} has seen more than the one that would take its place`,
    `data_version ${before.mark.dataVersion} (${before.mark.source}, ${before.mark.at}), new: ${mark.dataVersion}`,
    "main is older than what the node has acknowledged: an old state makes the peer take all the money",
    `restore a newer copy; if there is none and you accept the loss: ./twofold witness rebuild --lower-to ${mark.dataVersion}`,
  );
}

/**
 * A mark of another node than main's may be the only thing that still knows the right one.
 * @throws {Refusal} unless the operator has named the node
 */
export function mayReplaceNode(mark: Mark, nodeId: string, host: string, replaceNodes: readonly string[]): void {
  if (mark.nodeId === nodeId || replaceNodes.includes(mark.nodeId)) return;
  refuse(
    "REBUILD-MARK-OTHER-NODE",
    `the mark on ${host} belongs to another node than main`,
    `data_version ${mark.dataVersion} of ${mark.nodeId}; main is ${nodeId}`,
    "if main is the wrong one, this mark is what keeps it from being started in the right one's place",
    `find out which of the two is ${mark.node}; if it is main, repeat with --replace-node ${mark.nodeId}`,
  );
}

function secretNodeId(seen: Observed): string | undefined {
  return seen.secret.state === "present" ? seen.secret.nodeId : undefined;
}
