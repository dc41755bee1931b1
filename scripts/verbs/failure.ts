/** What a verb ends with where it is not done, and which exit status says so. */
import { EXIT } from "../host/contract.ts";
import { Refusal } from "../host/stage.ts";
import { BadConfig } from "./bad-config.ts";

/**
 * Said like a refusal, but nobody can promise that nothing was changed: a host can't be reached, gave no answer, or was
 * not the first that the verb had worked on.
 */
export class Failure extends Refusal {}

/** The exit status as `./twofold --help` has it. Pure. */
export function statusOf(error: unknown): number {
  const refused = (error instanceof Refusal && !(error instanceof Failure)) || error instanceof BadConfig;
  return refused ? EXIT.refused : EXIT.failed;
}
