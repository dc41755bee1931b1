/** Arguments that the repairing commands share. @throws {Refusal} */
import type { Command } from "../command.ts";
import { Refusal } from "../stage.ts";
import type { Accepted } from "./decide.ts";

/** Long enough to say something, for whoever reads the audit. */
const REASON_LENGTH = 8;

export function requireReason(reason: string | undefined): string {
  const words = reason?.trim() ?? "";
  if (words.length >= REASON_LENGTH && !/[\r\n]/.test(words)) return words;
  throw new Refusal({
    code: "REASON-MISSING",
    what: `a reason in one line of at least ${REASON_LENGTH} characters is needed`,
    received: words || "nothing",
    why: "this bends a rule that protects money, and somebody will ask why",
    fix: "add --reason 'what happened'",
  });
}

export function requireSubject<S extends string>(
  command: Pick<Command, "usage">,
  positionals: readonly string[],
  subjects: readonly S[],
): S {
  const found = subjects.find((subject) => positionals.length === 1 && positionals[0] === subject);
  if (found !== undefined) return found;
  throw new Refusal({
    code: "HOST-ARGUMENTS",
    what: "this command does not know what it is to work on",
    received: positionals.join(" ") || "nothing",
    why: "another copy than the one that was meant could be replaced",
    fix: `run ${command.usage}`,
  });
}

/** Options with which an operator names what a rebuild of the witness may give up. */
export const ACCEPT_OPTIONS = {
  "lower-to": { type: "string" },
  "replace-node": { type: "string", multiple: true },
} as const;

export function parseAccepted(values: { "lower-to"?: string; "replace-node"?: string[] }): Accepted {
  const { "lower-to": lowerTo, "replace-node": replaceNodes = [] } = values;
  if (lowerTo === undefined) return { replaceNodes };
  if (/^\d+$/.test(lowerTo)) return { lowerTo: Number(lowerTo), replaceNodes };
  throw new Refusal({
    code: "REBUILD-LOWER-TO",
    what: "--lower-to takes main's data_version",
    received: lowerTo,
    why: "it says which loss is accepted",
    fix: "give the number that the refusal named",
  });
}
