/** Writes down that a test of the survival table passed, where `npm run prove` asks for it. */
import { renameSync, writeFileSync } from "node:fs";
import { PROOFS_FILE, readProofs, type Sentence, withPass } from "../../components/topology/survival/proofs.ts";

/** Set by `npm run prove`: its passes go into the committed file of proofs. */
export const RECORD_VARIABLE = "TWOFOLD_RECORD_PROOFS";

/**
 * To be called at the end of a test that has passed, and whose title has `[id]` in it.
 *
 * @param sentence What sentenceOf() says of it; with the setup "any" where the outcome does not depend on the topology.
 * @param lightningd Version of the real lightningd that ran, or null for the lab daemon.
 * @param runs Faults that were made, each with its negative control in the same run.
 */
export function recordPass(
  sentence: Sentence,
  { lightningd, runs }: { lightningd: string | null; runs: number },
): void {
  if (process.env[RECORD_VARIABLE] === undefined) return;
  const date = new Date().toISOString().slice(0, 10);
  const proofs = withPass(readProofs(), sentence, { date, lightningd, runs });
  const temporary = `${PROOFS_FILE}.${process.pid}`;
  writeFileSync(temporary, `${JSON.stringify(proofs, null, 2)}\n`);
  renameSync(temporary, PROOFS_FILE);
}
