/** The documents that were last applied wholly to this host. */
import { join } from "node:path";
import { STATE_DIRECTORY, type StageName } from "./contract.ts";
import { readText } from "./read.ts";

export const APPLIED = join(STATE_DIRECTORY, "documents");

/** The document of a stage that was last applied wholly, as canonical JSON. */
export function lastApplied(stage: StageName): Promise<string | undefined> {
  return readText(join(APPLIED, `${stage}.json`));
}
