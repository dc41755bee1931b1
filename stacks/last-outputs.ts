/** What this stack recorded when it was last applied. */
import * as pulumi from "@pulumi/pulumi";
import { readTableCells, type TableCells } from "../components/topology/survival.ts";

/** Name of the stack output that holds the survival table. */
export const SURVIVAL_OUTPUT = "survival";

/**
 * The survival table that was last applied, undefined for a new stack. A stack reference to the stack itself reads the
 * state as it is before this run. To be awaited before any resource is declared: a table that is compared later, in an
 * `apply`, is refused only after resources have been touched.
 */
export async function lastSurvival(): Promise<TableCells | undefined> {
  const self = new pulumi.StackReference(`${pulumi.getOrganization()}/${pulumi.getProject()}/${pulumi.getStack()}`);
  const { value } = await self.getOutputDetails(SURVIVAL_OUTPUT);
  return readTableCells(value);
}
