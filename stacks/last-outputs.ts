/** The survival table as an output of the stack: what this run records, and what the last one did. */
import * as pulumi from "@pulumi/pulumi";
import { COLUMNS } from "../components/topology/survival/words.ts";
import { readTableCells, type TableCells } from "../components/topology/survival.ts";

/** Name of the output. */
export const SURVIVAL_OUTPUT = "survival";

const BETWEEN = " | ";

/** One line a failure, since Pulumi prints every output at the end of each `up`. Pure. */
export function encodeTable(cells: TableCells): Record<string, string> {
  return Object.fromEntries(
    Object.entries(cells).map(([failure, row]) => {
      const texts = COLUMNS.map((column) => row[column]);
      // A failure that does not apply says so once.
      return [failure, new Set(texts).size === 1 ? row.survives : texts.join(BETWEEN)];
    }),
  );
}

/** Undefined for what {@link encodeTable} did not write, e.g. a table of another version. Pure. */
export function decodeTable(output: unknown): TableCells | undefined {
  if (typeof output !== "object" || output === null) {
    return undefined;
  }
  const rows = Object.entries(output).map(([failure, line]) => {
    const texts = typeof line === "string" ? line.split(BETWEEN) : [];
    return [
      failure,
      Object.fromEntries(COLUMNS.map((column, index) => [column, texts[texts.length === 1 ? 0 : index]])),
    ];
  });
  return readTableCells(Object.fromEntries(rows));
}

/**
 * The survival table that was last applied, undefined for a new stack. A stack reference to the stack itself reads the
 * state as it is before this run. To be awaited before any resource is declared: a table that is compared later, in an
 * `apply`, is refused only after resources have been touched.
 */
export async function lastSurvival(): Promise<TableCells | undefined> {
  const self = new pulumi.StackReference(`${pulumi.getOrganization()}/${pulumi.getProject()}/${pulumi.getStack()}`);
  const { value } = await self.getOutputDetails(SURVIVAL_OUTPUT);
  return decodeTable(value);
}
