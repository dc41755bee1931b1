/** The stages that this program knows, by name. */
import { alerts } from "./alerts/stage.ts";
import { base } from "./base/stage.ts";
import type { DocumentOf, StageDocument, StageName } from "./contract.ts";
import { etcd } from "./etcd/stage.ts";
import { lightningd } from "./lightningd/stage.ts";
import { maintenance } from "./maintenance/stage.ts";
import { postgres } from "./postgres/stage.ts";
import { replica } from "./replica/stage.ts";
import { retired } from "./retired/stage.ts";
import { type OwnAction, Refusal, type Stage } from "./stage.ts";
import { storage } from "./storage/stage.ts";
import { witness } from "./witness/stage.ts";

/** A stage whose document, facts and own actions belong together, seen from the engine, which looks into none of them. */
export type AnyStage = Stage<StageDocument, unknown, OwnAction>;

type Stages = { [S in StageName]?: Stage<DocumentOf<S>, never, never> };

const STAGES = { base, storage, maintenance, replica, witness, etcd, postgres, retired, alerts, lightningd } as const;

/** @throws {Refusal} for a stage that this program hasn't */
export function stageOf(name: StageName): AnyStage {
  const stage = (STAGES as Stages)[name];
  if (stage === undefined) {
    throw new Refusal({
      code: "HOST-STAGE",
      what: `this version of the host program has no stage '${name}'`,
      received: name,
      why: "the host would be left without a part of what the topology says",
      fix: `leave out what needs it, or use a version that has it; this one has ${Object.keys(STAGES).join(", ")}`,
    });
  }
  return stage as unknown as AnyStage;
}
