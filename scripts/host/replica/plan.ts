/** What is to be done so that lightningd finds its replica, and nothing else can reach it. Pure. */
import type { ReplicaDocument } from "../contract.ts";
import type { ItemName } from "../stage.ts";
import type { Action } from "./actions.ts";
import type { ReplicaFacts } from "./facts.ts";
import { planSource, sourceItems } from "./source.ts";
import { planTarget, targetItems } from "./target.ts";

export function replicaItems(document: ReplicaDocument): ItemName[] {
  return document.role === "target" ? targetItems(document) : sourceItems(document);
}

export function planReplica(facts: ReplicaFacts, document: ReplicaDocument): Action[] {
  return facts.role === "target" ? planTarget(facts, document) : planSource(facts, document);
}
