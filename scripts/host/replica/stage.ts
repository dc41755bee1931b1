import type { ReplicaDocument } from "../contract.ts";
import type { Stage } from "../stage.ts";
import type { ReplicaAction } from "./actions.ts";
import { applyReplica } from "./apply.ts";
import { type ReplicaFacts, readReplicaFacts } from "./facts.ts";
import { planReplica, replicaItems } from "./plan.ts";

/** The second copy: on its host an account and a directory, on the node's host the directory or the mount of the other's. */
export const replica: Stage<ReplicaDocument, ReplicaFacts, ReplicaAction> = {
  items: replicaItems,
  readFacts: readReplicaFacts,
  plan: planReplica,
  apply: applyReplica,
};
