/**
 * Facts → plan → apply, for any stage.
 *
 * A run can end at every point: kill -9, power, a full disk. What holds it together:
 * - The plan is made wholly before the first action, so a refusal changes nothing.
 * - Each action can be repeated, so the next run makes a new plan and goes on from what it finds.
 * - What only follows from an action (a restart after a new config) can't be found by looking at the host, so it is written
 *   down before the first action and done by the next run if this one doesn't come to it.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { applyStep, toSteps } from "./actions.ts";
import { APPLIED, lastApplied } from "./applied.ts";
import { STATE_DIRECTORY, type StageDocument, type StageName } from "./contract.ts";
import { ensureOwnDirectory, syncDirectory, writeFileDurably } from "./files.ts";
import { canonicalJson } from "./json.ts";
import { ROOT_FILE } from "./planning.ts";
import { readText } from "./read.ts";
import type { ApplyContext, CommonAction, ItemName, OwnAction } from "./stage.ts";
import { Refusal } from "./stage.ts";
import { stageOf } from "./stages.ts";

type Action = CommonAction | OwnAction;

const PENDING = join(STATE_DIRECTORY, "pending");

/**
 * Rounds of facts → plan → apply in one run. The first does everything but what can't be seen before (the owner of a directory
 * on a volume that wasn't mounted); the second does that; the last has to find nothing left.
 */
const ROUNDS = 3;

/** Consequences of an interrupted run that the new plan doesn't have itself. Pure. */
export function leftOver(pending: readonly Action[], planned: readonly Action[]): Action[] {
  const same = (a: Action) => canonicalJson({ ...a, summary: "" });
  const already = new Set(planned.map(same));
  return pending.filter((action) => !already.has(same(action)));
}

async function readPending(stage: StageName): Promise<Action[]> {
  const text = await readText(join(PENDING, `${stage}.json`));
  return text === undefined ? [] : (JSON.parse(text) as Action[]);
}

/** Writes down the consequences among `actions` in the place of what was written before; without any there is no file. */
async function writePending(stage: StageName, actions: readonly Action[]): Promise<void> {
  const path = join(PENDING, `${stage}.json`);
  const consequences = actions.filter((action) => action.consequence);
  if (consequences.length > 0) {
    await ensureOwnDirectory(STATE_DIRECTORY);
    await ensureOwnDirectory(PENDING);
    await writeFileDurably(path, canonicalJson(consequences), ROOT_FILE);
  } else if ((await readText(path)) !== undefined) {
    await rm(path);
    await syncDirectory(PENDING);
  }
}

interface Plan {
  /** What the host as it is now needs. */
  planned: Action[];
  /** What an earlier run that didn't come to its consequences has written down. */
  pending: Action[];
  /** Those of `pending` that are not planned anyhow. */
  leftOver: Action[];
  /** What the operator has to do himself ({@link Stage.awaits}). */
  awaits: string | undefined;
}

async function makePlan(document: StageDocument): Promise<Plan> {
  const stage = stageOf(document.stage);
  const [facts, pending] = await Promise.all([stage.readFacts(document), readPending(document.stage)]);
  const planned = stage.plan(facts, document);
  return { planned, pending, leftOver: leftOver(pending, planned), awaits: stage.awaits?.(facts, document) };
}

/** Everything to be done for a document as the host is now; empty if nothing is. @throws {Refusal} */
export async function planDocument(document: StageDocument): Promise<Action[]> {
  const { planned, leftOver } = await makePlan(document);
  return [...planned, ...leftOver];
}

/** `changed` gets the items of each step that is done. */
async function carryOut(
  actions: readonly Action[],
  document: StageDocument,
  context: ApplyContext,
  changed: Set<ItemName>,
): Promise<void> {
  const stage = stageOf(document.stage);
  for (const step of toSteps(actions)) {
    const together = step.kind === "packages" ? step.actions : [step.action];
    for (const action of together) context.progress(`${document.stage}: ${action.summary}`);
    if (step.kind === "own") await stage.apply(step.action, document, context);
    else await applyStep(step, context);
    for (const { item } of together) changed.add(item);
  }
}

async function recordApplied(document: StageDocument): Promise<void> {
  const text = canonicalJson(document);
  if ((await lastApplied(document.stage)) === text) return;
  await ensureOwnDirectory(STATE_DIRECTORY);
  await ensureOwnDirectory(APPLIED);
  await writeFileDurably(join(APPLIED, `${document.stage}.json`), text, ROOT_FILE);
}

/**
 * Brings the host to what the document says and looks again whether it is there. Returns the items that were changed.
 * The caller holds the host lock.
 * @throws {Refusal} before anything was changed, if something must not be touched; an action that throws one has changed nothing itself
 */
export async function applyDocument(document: StageDocument, context: ApplyContext): Promise<ItemName[]> {
  const changed = new Set<ItemName>();
  try {
    for (let round = 1; ; round++) {
      const { planned, pending, leftOver, awaits } = await makePlan(document);
      const actions = [...planned, ...leftOver];
      if (actions.length === 0) {
        if (awaits !== undefined) context.progress(`${document.stage}: ${awaits}`);
        break;
      }
      if (round === ROUNDS) throw stillDifferent(document.stage, actions);
      await writePending(document.stage, actions);
      try {
        await carryOut(actions, document, context, changed);
      } catch (error) {
        // Of what was not done nothing follows: the next run would restart a node for it. What was owed before is owed still.
        if (error instanceof Refusal && changed.size === 0) await writePending(document.stage, pending);
        throw error;
      }
      await writePending(document.stage, []);
    }
  } catch (error) {
    // "Nothing was changed" would not be true any more.
    if (error instanceof Refusal && changed.size > 0) {
      throw new Error(`stage ${document.stage} stopped on its way, what is printed above was done: ${error.message}`);
    }
    throw error;
  }
  await recordApplied(document);
  await stageOf(document.stage).tidy?.();
  return [...changed];
}

function stillDifferent(stage: StageName, actions: readonly Action[]): Error {
  const left = actions.map((action) => `  ${action.item}: ${action.summary}`).join("\n");
  return new Error(
    `stage ${stage} was carried out, and the host still isn't as it should be:\n${left}\n` +
      "  to do: see what changes it back (another program that manages this host?), then run this again",
  );
}

/** One thing that isn't as its document says. */
export interface Drift {
  stage: StageName;
  item: ItemName;
  summary: string;
  /** `repair` will not touch it: the reason stands in `summary`. */
  refused?: true;
}

/** What isn't as the document says, one entry an item; empty if the host is as desired. */
export async function driftOf(document: StageDocument): Promise<Drift[]> {
  const { stage } = document;
  try {
    const { planned, leftOver } = await makePlan(document);
    const drifted = [
      ...planned.filter((action) => !action.consequence),
      ...leftOver.map((action) => ({ ...action, summary: `${action.summary}, which an interrupted run left undone` })),
    ];
    const found = new Map<ItemName, Drift>();
    for (const { item, summary } of drifted) {
      const before = found.get(item);
      if (before) before.summary += `; ${summary}`;
      else found.set(item, { stage, item, summary });
    }
    if (found.size === 0 && (await lastApplied(stage)) !== canonicalJson(document)) {
      const summary = "these are not the settings that were last applied to this host: run pulumi up";
      found.set(`document:${stage}`, { stage, item: `document:${stage}`, summary });
    }
    return [...found.values()];
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return [{ stage, item: `stage:${stage}`, summary: error.message, refused: true }];
  }
}
