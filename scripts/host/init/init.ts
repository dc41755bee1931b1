/**
 * The first start of a new node: permission, empty database, start, and what is recorded when the node has answered.
 *
 * It can end at every point and be run again. The permission is written first and removed last, so it says which of the
 * two a second run finds: a node that was begun under it, or something that was there before.
 */
import { setTimeout as delay } from "node:timers/promises";
import { EXIT, hasSqliteWallet, LIGHTNINGD, type LightningdDocument, NODE_STATE } from "../contract.ts";
import { readLiveWallet } from "../gate/live.ts";
import { notMounted } from "../gate/mounts.ts";
import { neededMounts } from "../gate/observe.ts";
import {
  audit,
  forget,
  type Identity,
  readIdentity,
  readPermission,
  writeIdentity,
  writePermission,
} from "../gate/state.ts";
import { startLightningd } from "../lightningd/service.ts";
import { readUnitState } from "../lightningd/unit.ts";
import { Refusal } from "../stage.ts";
import { askNodeId, rpcSocket } from "../witness/rpc.ts";
import { prepareMain } from "./prepare.ts";
import type { Survey } from "./survey.ts";

/** Long enough for a slow chain backend and a repeated try, short enough that a forgotten permission does no harm later. */
const PERMISSION_HOURS = 24;
const ANSWER_DEADLINE_MS = 120_000;

export type Say = (line: string) => void;

/** @throws {Refusal} unless every declared host has answered and has nothing of the node. Pure. */
export function nothingExists(document: LightningdDocument, surveys: Survey[]): void {
  const wanted = [document.host, ...document.peers.map((peer) => peer.host)];
  const silent = wanted.filter((host) => !surveys.some((one) => one.host === host));
  if (silent.length > 0)
    throw new Refusal({
      code: "INIT-HOST-SILENT",
      what: `not every declared host has said what it has of node ${document.node}`,
      received: `answers of ${surveys.map((one) => one.host).join(", ") || "none"}; none of ${silent.join(", ")}`,
      why: "the node may exist there; a first start would make a second identity",
      fix: `bring ${silent.join(", ")} back, or take it out of the topology, and run ./twofold init again`,
    });
  const found = surveys.flatMap((one) => one.found.map((each) => ({ host: one.host, ...each })));
  if (found.length === 0) return;
  const words = found.map(
    ({ host, what, path, detail }) => `${host}: ${what} at ${path}${detail ? ` (${detail})` : ""}`,
  );
  const wallet = found.some(({ what, host }) => what === "main" && host === document.host);
  const marked = found.some(({ what }) => what === "witness" || what === "node id");
  throw new Refusal({
    code: "INIT-NODE-EXISTS",
    what: `node ${document.node} exists, so this would not be its first start`,
    received: words.join("; "),
    why: "init makes a new node identity; channels and money belong to the old one",
    fix:
      wallet && !marked
        ? "an existing wallet that was brought here: ./twofold witness rebuild --reason … takes it on as it is, ./twofold resync replica --reason … makes its replica, if it has one, and ./twofold repair starts it then"
        : "start it with ./twofold repair; if a copy is lost, restore it; ./twofold gate says what is in the way",
  });
}

/** A first start that was permitted and not finished. */
async function isUnfinished(document: LightningdDocument): Promise<boolean> {
  const permission = await readPermission();
  return permission?.node === document.node;
}

export async function init(document: LightningdDocument, surveys: Survey[], say: Say): Promise<Identity> {
  const identity = await readIdentity();
  const unfinished = await isUnfinished(document);
  if (identity?.node === document.node && !unfinished) {
    say(`node ${document.node} had its first start at ${identity.since}; nothing to do`);
    return identity;
  }
  if (unfinished) say("going on with a first start that was permitted before");
  else nothingExists(document, surveys);
  await requireMounts(document);
  const now = Date.now();
  const expires = new Date(now + PERMISSION_HOURS * 3_600_000).toISOString();
  await writePermission({ node: document.node, since: new Date(now).toISOString(), expires });
  if (!unfinished) await audit("first start permitted", { node: document.node, expires });
  if (hasSqliteWallet(document)) await prepareMain(document);
  say("starting lightningd for the first time");
  await startLightningd({ progress: say });
  return waitForNode(document, say);
}

/** After the witness has the node, without which the gate refuses one that has an identity: from now on only its own copies may start it. */
export async function finishInit(document: LightningdDocument, identity: Identity): Promise<void> {
  if ((await readIdentity())?.node !== document.node) await writeIdentity(identity);
  if (!(await isUnfinished(document))) return;
  await forget(NODE_STATE.permission);
  await audit("first start finished", { node: document.node, nodeId: identity.nodeId });
}

async function requireMounts(document: LightningdDocument): Promise<void> {
  const missing = await notMounted(neededMounts(document));
  if (missing.length === 0) return;
  throw new Refusal({
    code: "INIT-NOT-MOUNTED",
    what: "a volume of the node is not mounted",
    received: missing.join(", "),
    why: "the wallet would be made on another disk, and be missing when the volume comes back",
    fix: "run ./twofold repair, or see why it does not mount: journalctl -b",
  });
}

/** The node that answers must be the one whose wallet lies at main. */
async function waitForNode(document: LightningdDocument, say: Say): Promise<Identity> {
  const deadline = Date.now() + ANSWER_DEADLINE_MS;
  let saidAt = Date.now();
  for (;;) {
    const [nodeId, live] = await Promise.all([askNodeId(rpcSocket(document)), readLiveWallet(document)]);
    if (nodeId !== undefined && live?.nodeId === nodeId)
      return {
        ...{ node: document.node, nodeId, since: new Date().toISOString() },
        ...(live.systemIdentifier === undefined ? {} : { systemIdentifier: live.systemIdentifier }),
      };
    const unit = await readUnitState();
    if (unit.lastStatus === EXIT.gateRefused && unit.active === "failed")
      throw new Error(`the gate refused; journalctl -u ${LIGHTNINGD.unit} says why`);
    if (Date.now() > deadline)
      throw new Error(
        `lightningd did not answer within ${ANSWER_DEADLINE_MS / 1000} s (getinfo: ${nodeId ?? "no answer"}, wallet: ${live?.nodeId ?? "not claimed yet"})\n` +
          `  to do: see journalctl -u ${LIGHTNINGD.unit}; then run ./twofold init again, which goes on from here`,
      );
    if (Date.now() - saidAt > 5000) {
      say(
        `waiting for lightningd: ${nodeId === undefined ? "no answer to getinfo yet" : "its wallet is not claimed yet"}`,
      );
      saidAt = Date.now();
    }
    await delay(200);
  }
}
