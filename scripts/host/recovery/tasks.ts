/**
 * The repairs as runs: each is done in a unit of its own under the host lock, so that a connection that dies ends nobody but who watches.
 * Audit, state and the node's start come before anything is told, and what is told goes into a file.
 */
import { NODE_STATE, type SqliteNodeDocument } from "../contract.ts";
import {
  audit,
  forget,
  readDegraded,
  readGateDocument,
  readIdentity,
  readSqliteGateDocument,
  writeIdentity,
} from "../gate/state.ts";
import { isUp, readUnitState } from "../lightningd/unit.ts";
import { Refusal } from "../stage.ts";
import type { Mark } from "../witness/mark.ts";
import type { Accepted } from "./decide.ts";
import type { Copied } from "./files.ts";
import { type Say, startAfterFailure, startOwed, stopForRepair, underStartLock, whileStopped } from "./locked.ts";
import { requireRoom } from "./room.ts";
import type { Rebuilt } from "./work.ts";

/** A repair and what the operator said to it; plain data, which the run reads back. */
export type RecoveryTask =
  | { verb: "restore" }
  | { verb: "resync"; reason: string }
  | { verb: "degrade-end"; reason: string }
  | ({ verb: "witness-rebuild" } & RebuildRequest)
  | { verb: "resume" };

export interface RebuildRequest extends Accepted {
  reason: string;
}

/** What `restore` prints, as one line of JSON. */
export interface RestoreReport extends Copied {
  node: string;
  from: string;
  to: string;
}

/** What `witness-rebuild` prints: the mark that 'witness-replace' takes on the other hosts. */
export interface RebuildReport {
  mark: Mark;
  /** The node was stopped for it, and 'resume' starts it when the other hosts have the mark too. */
  stopped: boolean;
}

/** Carries out a repair and returns its report, undefined if there is nothing to report. */
export function carryOut(task: RecoveryTask, say: Say): Promise<unknown> {
  switch (task.verb) {
    case "restore":
      return restore(say);
    case "resync":
      return resync(task.reason, say);
    case "degrade-end":
      return endDegraded(task.reason, say);
    case "witness-rebuild":
      return rebuild(task, say);
    case "resume":
      return startOwed(say);
  }
}

async function restore(say: Say): Promise<RestoreReport> {
  const document = await readSqliteGateDocument();
  if (isUp(await readUnitState()))
    throw new Refusal({
      code: "NODE-NOT-STOPPED",
      what: "lightningd runs, or its gate waits",
      received: "lightningd.service is up",
      why: "a running wallet can't be replaced",
      fix: "systemctl stop lightningd, then run this again",
    });
  const copied = JSON.parse(await underStartLock(document, ["repair-work", "restore"], say)) as Copied;
  const { main, replica } = document.wallet;
  const report: RestoreReport = { node: document.node, from: replica?.path ?? "", to: main, ...copied };
  await audit("main restored from the replica", { ...report });
  // A host that was made anew has yet to learn whose node it runs.
  if (copied.nodeId !== undefined && (await readIdentity())?.node !== document.node)
    await writeIdentity({ node: document.node, nodeId: copied.nodeId, since: new Date().toISOString() });
  say(`main is at data_version ${copied.version}${kept(copied)}`);
  say("next: ./twofold gate, then ./twofold repair, which starts the node");
  return report;
}

const kept = ({ aside }: Copied) => (aside === undefined ? "" : `; the former one is kept in ${aside}`);

async function resync(reason: string, say: Say): Promise<Copied> {
  const document = await readSqliteGateDocument();
  await requireRoomForReplica(document);
  return whileStopped(say, () => writeReplicaAnew(document, reason, say));
}

/** Before the node is stopped: for a copy that has no room it need not stand still. */
async function requireRoomForReplica({ wallet: { main, replica } }: SqliteNodeDocument): Promise<void> {
  if (replica !== undefined) await requireRoom(main, replica.path);
}

async function writeReplicaAnew(document: SqliteNodeDocument, reason: string, say: Say): Promise<Copied> {
  const copied = JSON.parse(await underStartLock(document, ["repair-work", "resync"], say)) as Copied;
  await audit("replica written anew from main", { node: document.node, reason, ...copied });
  say(`the replica is at data_version ${copied.version}, compared${kept(copied)}`);
  return copied;
}

/** The replica is written anew and compared before the mode is over; a node that only lacked a witness has nothing to copy. */
async function endDegraded(reason: string, say: Say): Promise<Copied | undefined> {
  const { node } = await readGateDocument();
  const degraded = await readDegraded();
  if (degraded === undefined) {
    say("the node is not degraded; nothing to do");
    return undefined;
  }
  const finish = async () => {
    await forget(NODE_STATE.degraded);
    await audit("degraded mode ended", { node, ...degraded, endedFor: reason });
  };
  if (degraded.subject === "witness") {
    await finish();
    return undefined;
  }
  const document = await readSqliteGateDocument();
  await requireRoomForReplica(document);
  return whileStopped(say, async () => {
    const copied = await writeReplicaAnew(document, reason, say);
    await finish();
    return copied;
  });
}

/** The node stays stopped until the other hosts have the mark too: the gate would refuse it for theirs. */
async function rebuild({ reason, ...accepted }: RebuildRequest, say: Say): Promise<RebuildReport> {
  const document = await readGateDocument();
  const { node } = document;
  const stopped = await stopForRepair(say);
  try {
    const request = JSON.stringify({ reason, ...accepted } satisfies RebuildRequest);
    const rebuilt = JSON.parse(await underStartLock(document, ["repair-work", "rebuild", request], say)) as Rebuilt;
    await audit("witness rebuilt", { node, reason, ...accepted, ...rebuilt });
    if ((await readIdentity())?.node !== node)
      await writeIdentity({ node, nodeId: rebuilt.nodeId, since: new Date().toISOString() });
    const { nodeId, dataVersion } = rebuilt;
    say(`the witness of ${node} on ${document.host} is at data_version ${dataVersion}`);
    const at = new Date().toISOString();
    return { mark: { node, nodeId, dataVersion, exact: true, at, source: `rebuild: ${reason}` }, stopped };
  } catch (error) {
    if (stopped) await startAfterFailure(say);
    throw error;
  }
}
