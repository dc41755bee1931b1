import type { WitnessDocument } from "../contract.ts";
import type { Stage } from "../stage.ts";
import { applyWitness } from "./apply.ts";
import { readWitnessFacts, type WitnessFacts } from "./facts.ts";
import { planWitness, type WitnessAction, witnessItems } from "./plan.ts";

/** The places of high-water marks: this host's own, and those of nodes on other hosts. */
export const witness: Stage<WitnessDocument, WitnessFacts, WitnessAction> = {
  items: witnessItems,
  readFacts: readWitnessFacts,
  plan: planWitness,
  apply: applyWitness,
};
