import type { LightningdDocument } from "../contract.ts";
import type { Stage } from "../stage.ts";
import { applyLightningd } from "./apply.ts";
import { type LightningdFacts, readLightningdFacts } from "./facts.ts";
import { awaitsOf, type LightningdAction, lightningdItems, planLightningd } from "./plan.ts";

/** lightningd's programs, config, unit and journal mode; it is started only where the node was started before. */
export const lightningd: Stage<LightningdDocument, LightningdFacts, LightningdAction> = {
  items: lightningdItems,
  readFacts: readLightningdFacts,
  plan: planLightningd,
  awaits: awaitsOf,
  apply: applyLightningd,
};
