/** The survival table and the node's identity as outputs of the stack: what this run records, and what the last one did. */
import * as pulumi from "@pulumi/pulumi";
import type { NodeIdentity } from "../components/topology/rules/change.ts";
import { COLUMNS } from "../components/topology/survival/words.ts";
import { type RecordedTable, readTableCells, recordedTable, type TableCells } from "../components/topology/survival.ts";

/** Names of the outputs. */
export const SURVIVAL_OUTPUT = "survival";
export const DIGEST_OUTPUT = "tableDigest";
export const IDENTITY_OUTPUT = "identity";

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

/** Undefined for what another version may have written. Pure. */
export function decodeIdentity(output: unknown): NodeIdentity | undefined {
  if (typeof output !== "object" || output === null) {
    return undefined;
  }
  const { node, network, host, walletKind, main } = output as Record<string, unknown>;
  return [node, network, host, walletKind].every((value) => typeof value === "string") &&
    (main === null || typeof main === "string")
    ? (output as NodeIdentity)
    : undefined;
}

/** What the last `up` that succeeded has recorded; nothing for a new stack. */
export interface LastOutputs {
  survival: RecordedTable | undefined;
  identity: NodeIdentity | undefined;
}

/**
 * A stack reference to the stack itself reads the state as it is before this run. To be awaited before any resource is
 * declared: what is compared later, in an `apply`, is refused only after resources have been touched.
 */
export async function lastOutputs(): Promise<LastOutputs> {
  const self = new pulumi.StackReference(`${pulumi.getOrganization()}/${pulumi.getProject()}/${pulumi.getStack()}`);
  const [survival, digest, identity] = await Promise.all([
    self.getOutputDetails(SURVIVAL_OUTPUT),
    self.getOutputDetails(DIGEST_OUTPUT),
    self.getOutputDetails(IDENTITY_OUTPUT),
  ]);
  const table = recordedTable(decodeTable(survival.value), survival.value, digest.value);
  return { survival: table, identity: decodeIdentity(identity.value) };
}
