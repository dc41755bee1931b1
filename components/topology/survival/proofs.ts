/** Which tests prove the cells of the survival table, and when they last passed. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import type { Failure, Repair } from "./row.ts";

/** Id of the test that proves what a failure does, or that a repair repairs; it stands in the test's title in square brackets. */
export type TestId = `survival:${Failure}` | `repair:${Repair}`;

/** The last pass of one test. */
export const passSchema = z.strictObject({
  date: z.iso.date(),
  lightningd: z
    .string()
    .nullable()
    .describe("Version of the real lightningd, or null for the lab daemon, which proves nothing."),
  runs: z.int().min(1).describe("Faults of that pass, e.g. power cuts."),
});

/**
 * By test id, then by setup ("raid1, sshfs, delete"; "any" where the test does not depend on it), then by what the node was held to:
 * the claim of a failure's row, the command of a repair. Written by `npm run prove`.
 */
export const proofsSchema = z.record(z.string(), z.record(z.string(), z.record(z.string(), passSchema)));
export type Proofs = z.output<typeof proofsSchema>;
export type Pass = z.output<typeof passSchema>;

/** The committed file. */
export const PROOFS_FILE = fileURLToPath(new URL("../proofs.json", import.meta.url));

/** What one test holds a node of one setup to. */
export interface Sentence {
  id: TestId;
  setup: string;
  /** Of two topologies of one setup, e.g. with and without a copy of hsm_secret, one may survive what the other does not. */
  claim: string;
}

/** The proofs with one pass more. A pass with the lab daemon never takes the place of one with the real lightningd. */
export function withPass(proofs: Proofs, { id, setup, claim }: Sentence, pass: Pass): Proofs {
  const known = proofs[id]?.[setup]?.[claim];
  if (known !== undefined && known.lightningd !== null && pass.lightningd === null) return proofs;
  const ofSetup = sorted({ ...proofs[id]?.[setup], [claim]: pass });
  return sorted({ ...proofs, [id]: sorted({ ...proofs[id], [setup]: ofSetup }) });
}

/** Keys in order, so that a pass changes only its own lines of the file. */
function sorted<V>(record: Record<string, V>): Record<string, V> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The proofs that were committed with this version. Throws if the file is damaged. */
export function readProofs(): Proofs {
  return proofsSchema.parse(JSON.parse(readFileSync(PROOFS_FILE, "utf8")));
}

/** What can be said of a row whose cells these tests prove: the oldest pass if all passed with the real lightningd, or what is missing. */
export function proofText(sentences: readonly Sentence[], proofs: Proofs): string {
  const passes = sentences.map(({ id, setup, claim }) => proofs[id]?.[setup]?.[claim] ?? proofs[id]?.any?.[claim]);
  const named = (tests: readonly Sentence[]) => tests.map(({ id }) => `[${id}]`).join(" ");
  const missing = sentences.filter((_, index) => passes[index] === undefined);
  if (missing.length > 0) return `not proved: ${named(missing)}`;
  const unreal = sentences.filter((_, index) => passes[index]?.lightningd === null);
  if (unreal.length > 0) return `not proved with the real lightningd: ${named(unreal)}`;
  const oldest = passes.map((pass) => pass?.date ?? "").sort()[0];
  return `proved ${oldest}: ${named(sentences)}`;
}
