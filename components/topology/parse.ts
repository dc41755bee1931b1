/** The only reader of a stack's config: plain values in, a topology that passed every rule out, or everything that is wrong with it. */
import type { z } from "zod";
import { nearest } from "./nearest.ts";
import { type Problem, show, showPath } from "./problem.ts";
import { checkRules } from "./rules/index.ts";
import { type Topology, topologySchema } from "./schema.ts";
import { describedAt, keysAt, optionFor, valueAt } from "./schema-walk.ts";

/** Pulumi's namespace of this project's config. */
export const NAMESPACE = "twofold:";
/** Known, but read by the lab alone (stacks/lab-schema.ts). */
const LAB_KEY = "lab";

export type Parsed = { ok: true; topology: Topology } | { ok: false; problems: Problem[] };

/**
 * Reads a stack's config, keyed as Pulumi keys it (`twofold:node`); keys of other namespaces are passed over.
 * All problems of shape are reported at once; without any, all broken rules.
 */
export function parseTopology(config: Readonly<Record<string, unknown>>, stack: string): Parsed {
  const shaped = parseShape(config, stack);
  if (!shaped.ok) return shaped;
  const problems = checkRules(shaped.topology);
  return problems.length === 0 ? shaped : { ok: false, problems };
}

/** The same without the rules: for what has to work on a topology that keeps no promise, such as its survival table. */
export function parseShape(config: Readonly<Record<string, unknown>>, stack: string): Parsed {
  const input: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(config)) {
    if (!key.startsWith(NAMESPACE) || key === NAMESPACE + LAB_KEY) continue;
    input[key.slice(NAMESPACE.length)] = decode(value);
  }
  const secrets = secretsIn(input, []);
  if (secrets.length > 0) return { ok: false, problems: secrets };
  const result = topologySchema.safeParse(input, { reportInput: false });
  if (result.success) return { ok: true, topology: { ...result.data, stack } };
  return { ok: false, problems: result.error.issues.flatMap((issue) => problemsOf(issue, [], input)) };
}

/** `pulumi config set` writes text, and Pulumi hands objects to programs as JSON: both mean the value that they spell. */
function decode(value: unknown): unknown {
  if (typeof value !== "string" || !/^\s*(\{|\[|true$|false$)/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

/** Encrypted values of a stack's file, which only Pulumi can read: the topology is shown in previews, so none belongs there. */
function secretsIn(value: unknown, path: PropertyKey[]): Problem[] {
  if (typeof value !== "object" || value === null) return [];
  if ("secure" in value && typeof value.secure === "string" && Object.keys(value).length === 1) {
    return [
      {
        code: "CONFIG_SECRET",
        path: NAMESPACE + showPath(path),
        what: "the value is encrypted",
        received: "{ secure: … }",
        why: "the topology is plain: it is shown in previews, and the verbs read it without Pulumi and its passphrase",
        fix: "write the value in plain text, and if it is a secret, leave it out and keep it in a file on the host",
      },
    ];
  }
  return Object.entries(value).flatMap(([key, item]) =>
    secretsIn(item, [...path, Array.isArray(value) ? Number(key) : key]),
  );
}

type Issue = z.core.$ZodIssue;

/** What zod found, said for an operator; a union's findings are those of the alternative that was meant. */
function problemsOf(issue: Issue, prefix: PropertyKey[], input: unknown): Problem[] {
  const path = [...prefix, ...issue.path];
  const value = valueAt(input, path);
  const description = describedAt(topologySchema, path, input);
  const problem = (parts: Pick<Problem, "code" | "what" | "fix"> & Partial<Problem>): Problem[] => [
    {
      path: NAMESPACE + showPath(path),
      received: show(value),
      why: description ?? "the stack's config has a fixed shape, so that a slip is found before a host is touched",
      ...parts,
    },
  ];

  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => unknownKey(path, key, input));
    case "invalid_type":
      if (value === undefined) {
        return problem({ code: "CONFIG_MISSING", what: "it is missing", fix: `add it: ${nounOf(issue.expected)}` });
      }
      return problem({
        code: "CONFIG_TYPE",
        what: `it is ${nounOf(typeOf(value))}`,
        fix: `write ${nounOf(issue.expected)}`,
      });
    case "invalid_value":
      if (value === undefined) {
        return problem({ code: "CONFIG_MISSING", what: "it is missing", fix: `add it: ${oneOf(issue.values)}` });
      }
      return problem({ code: "CONFIG_VALUE", what: "it is not a known value", fix: choose(value, issue.values) });
    case "invalid_union": {
      const option = optionFor(topologySchema, path, input);
      const meant = option === undefined ? undefined : issue.errors[option];
      if (meant !== undefined) return meant.flatMap((inner) => problemsOf(inner, path, input));
      if (value === undefined) {
        return problem({ code: "CONFIG_MISSING", what: "it is missing", fix: "add it" });
      }
      return problem({
        code: "CONFIG_VALUE",
        what: "it has none of the known forms",
        fix: formsOf(issue, path, value, input),
      });
    }
    case "invalid_key":
      return problem({
        code: "CONFIG_VALUE",
        what: "the name cannot be used",
        received: show(path.at(-1)),
        fix: `write ${issue.issues[0]?.message ?? "another name"}`,
      });
    case "too_small":
    case "too_big": {
      const [word, limit] = issue.code === "too_small" ? ["at least", issue.minimum] : ["at most", issue.maximum];
      const unit = issue.origin === "array" ? " entries" : issue.origin === "string" ? " characters" : "";
      return problem({
        code: "CONFIG_VALUE",
        what: issue.code === "too_small" ? "it is too small" : "it is too large",
        fix: `${word} ${limit}${unit}`,
      });
    }
    default:
      return problem({
        code: "CONFIG_VALUE",
        what: "it cannot be used",
        fix: `write ${issue.message}`,
        // The schema's own checks say more (what, why).
        ...(issue.code === "custom" ? (issue.params as Partial<Problem> | undefined) : undefined),
      });
  }
}

/** Known keys of a wallet, but not of one in PostgreSQL. */
const SQLITE_ONLY = ["replica", "journalMode"];
/** Ways to write that a commit need not wait for its standby. */
const LESS_THAN_SYNCHRONOUS = /^synchronous_?(commit|mode)/i;
const PASSWORD = /^(dsn|password|passfile|passwd|url)$/i;

function unknownKey(path: PropertyKey[], key: string, input: unknown): Problem {
  const known =
    path.length === 0 ? [...keysAt(topologySchema, path, input), LAB_KEY] : keysAt(topologySchema, path, input);
  const meant = nearest(key, known);
  const inWallet = showPath(path) === "node.wallet";
  const sqliteOnly = inWallet && SQLITE_ONLY.includes(key);
  if (inWallet && LESS_THAN_SYNCHRONOUS.test(key))
    return {
      code: "CONFIG_UNKNOWN_KEY",
      path: NAMESPACE + showPath([...path, key]),
      what: "synchronous replication can't be set: it is always on",
      received: show(valueAt(input, [...path, key])),
      why: "with off, local or remote_write a commit is acknowledged before it is durable in two places, and a failover brings an old state: the peers may take all the money of its channels",
      fix: "remove it; synchronousStandbys says for how many standbys a commit waits, 1 at least",
    };
  if (inWallet && PASSWORD.test(key))
    return {
      code: "CONFIG_UNKNOWN_KEY",
      path: NAMESPACE + showPath([...path, key]),
      what: "there is no such key",
      received: "(not shown)",
      why: "twofold makes the DSN itself, from the members; the node shows a certificate, and there is no password anywhere",
      fix: "remove it, and change the password if it is one that is in use: it stood in plain text in the stack's config",
    };
  return {
    code: "CONFIG_UNKNOWN_KEY",
    path: NAMESPACE + showPath([...path, key]),
    what: "there is no such key",
    received: show(valueAt(input, [...path, key])),
    why: sqliteOnly
      ? `'${key}' is a part of wallets of kind sqlite; a PostgreSQL cluster has standbys instead (lightningd's replica works with SQLite alone)`
      : "a key that nobody reads looks like protection and is none",
    fix: `${meant === undefined ? "remove it" : `write '${meant}' if that was meant, or remove it`}; known here: ${known.join(", ")}`,
  };
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

const NOUNS: Record<string, string> = {
  array: "a list",
  boolean: "true or false",
  int: "a whole number",
  null: "empty",
  number: "a number",
  object: "a mapping of keys to values",
  record: "a mapping of names to values",
  string: "a text",
};

function nounOf(type: string): string {
  return NOUNS[type] ?? type;
}

/** What may stand where a union was not matched. */
function formsOf(issue: z.core.$ZodIssueInvalidUnion, path: PropertyKey[], value: unknown, input: unknown): string {
  if ("options" in issue && issue.options !== undefined) return choose(value, issue.options);
  const keys = keysAt(topologySchema, path, input);
  return keys.length > 0 ? `give one of ${keys.join(", ")}` : `write ${issue.message}`;
}

function oneOf(values: readonly unknown[]): string {
  return values.length === 1 ? String(values[0]) : `one of ${values.map(String).join(", ")}`;
}

function choose(value: unknown, values: readonly unknown[]): string {
  const meant = typeof value === "string" ? nearest(value, values.map(String)) : undefined;
  return `write ${oneOf(values)}${meant === undefined || values.length === 1 ? "" : `; perhaps ${meant} was meant`}`;
}
