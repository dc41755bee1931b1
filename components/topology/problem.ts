/** What is wrong with a topology, in the four parts that every message of this project has. */
export interface Problem {
  /** Names the rule, for tests, documents and searches: RAID_TOO_FEW_DEVICES. */
  code: string;
  /** Where it stands in the stack's config: twofold:node.volume.devices[1]. */
  path: string;
  /** What is wrong, in one sentence. */
  what: string;
  /** The value received, as text. */
  received: string;
  why: string;
  fix: string;
}

/** All problems as one text for a terminal, in the form of the host program's refusals. */
export function formatProblems(problems: readonly Problem[]): string {
  return problems
    .map(
      ({ code, path, what, received, why, fix }) =>
        `${code}: ${path}: ${what}\n  received: ${received}\n  why: ${why}\n  to do: ${fix}`,
    )
    .join("\n\n");
}

const LONGEST_VALUE = 160;

/** A value as it is shown in a message: JSON, cut where it would fill the screen. */
export function show(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value);
  return text.length <= LONGEST_VALUE ? text : `${text.slice(0, LONGEST_VALUE)}… (${text.length} characters)`;
}

/** A path of keys and indexes as it would be written: node.volume.devices[1]. */
export function showPath(path: readonly PropertyKey[]): string {
  return path
    .map((part, index) => (typeof part === "number" ? `[${part}]` : `${index === 0 ? "" : "."}${String(part)}`))
    .join("");
}
