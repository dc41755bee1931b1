/** Reads a stack's config from its file, for the verbs: on the worst day there may be no Pulumi. */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { type Document, isAlias, isScalar, LineCounter, parseDocument, visit } from "yaml";
import { NAMESPACE } from "./parse.ts";
import { formatProblems, type Problem, show } from "./problem.ts";
import { PULUMI_DAY, pulumiScalar } from "./pulumi-scalar.ts";

/** The file of a stack can't be read as one. */
export class StackConfigError extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(formatProblems([problem]));
    this.name = "StackConfigError";
    this.problem = problem;
  }
}

export interface StackConfig {
  /** Name of the stack, from the name of the file. */
  stack: string;
  /** The values under `config`, keyed as in the file: twofold:node. */
  config: Record<string, unknown>;
}

/** Reads `Pulumi.STACK.yaml`. Throws {@link StackConfigError}. */
export function readStackConfig(file: string): StackConfig {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new StackConfigError({
      code: "STACK_FILE_UNREADABLE",
      path: file,
      what: "the stack's config cannot be read",
      received: error instanceof Error ? error.message : String(error),
      why: "the topology stands in it",
      fix: "name an existing stack with -s STACK, or its file with --config-file",
    });
  }
  return parseStackConfig(text, file);
}

/** The same from text; `file` gives the stack's name and stands in messages. Throws {@link StackConfigError}. */
export function parseStackConfig(text: string, file: string): StackConfig {
  const stack = /^Pulumi\.(.+)\.ya?ml$/.exec(basename(file))?.[1];
  if (stack === undefined) {
    throw new StackConfigError({
      code: "STACK_FILE_NAME",
      path: file,
      what: "the file's name does not tell the stack",
      received: basename(file),
      why: "the stack's name is part of what a volume's UUID is derived from",
      fix: "name it Pulumi.STACK.yaml, as Pulumi does",
    });
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const error = document.errors[0];
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0]);
    throw new StackConfigError({
      code: "STACK_FILE_YAML",
      path: `${file}:${line}:${col}`,
      what: `line ${line}, column ${col} is not YAML: ${error.message.replace(/\.$/, "")}`,
      received: show(text.split("\n")[line - 1]?.trim() ?? ""),
      why: "nothing after that place can be trusted",
      fix: "correct that line; the usual causes are a tab, a missing space after ':' and a text with ': ' or ' #' without quotes",
    });
  }
  readAsPulumi(document, (offset) => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  });
  const content: unknown = document.toJS();
  const config = isMapping(content) ? content.config : undefined;
  if (!isMapping(config)) {
    throw new StackConfigError({
      code: "STACK_FILE_NO_CONFIG",
      path: file,
      what: "the file has no 'config' with keys in it",
      received: show(content ?? undefined),
      why: "the topology stands there, as twofold:hosts and twofold:node",
      fix: "write 'config:' and beneath it, indented, the keys of README.md, \"Config reference\"",
    });
  }
  return { stack, config: withNamespaces(config, file) };
}

/** Pulumi puts the project's name before a key that has no namespace. */
function withNamespaces(config: Record<string, unknown>, file: string): Record<string, unknown> {
  const entries = Object.entries(config).map(
    ([key, value]) => [key.includes(":") ? key : NAMESPACE + key, value] as const,
  );
  const twice = entries.map(([key]) => key).find((key, index, all) => all.indexOf(key) !== index);
  if (twice === undefined) return Object.fromEntries(entries);
  throw new StackConfigError({
    code: "STACK_FILE_AMBIGUOUS",
    path: file,
    what: `'${twice}' stands there with and without its namespace`,
    received: show(Object.keys(config)),
    why: "which of the two Pulumi takes is chance",
    fix: `keep one of them, as ${twice}`,
  });
}

/** Gives each plain scalar the value that it has in Pulumi's program, or refuses it where the verbs would not know that value. */
function readAsPulumi(document: Document.Parsed, placeOf: (offset: number) => string): void {
  visit(document, {
    Node(key, node) {
      const refuse = (what: string, received: string, fix: string): never => {
        throw new StackConfigError({
          code: "STACK_FILE_AMBIGUOUS",
          path: placeOf(node.range?.[0] ?? 0),
          what,
          received,
          why: "what pulumi up writes to the hosts would be drift for the verbs, and what repair writes would be drift for pulumi up",
          fix,
        });
      };
      if (isAlias(node)) return;
      if (node.tag !== undefined) refuse("a tag stands here, which Pulumi may read otherwise", node.tag, UNTAGGED);
      if (!isScalar(node) || node.type !== "PLAIN" || node.source === undefined) return;
      const { source } = node;
      const read = pulumiScalar(source);
      const same = Object.is(read, node.value);
      // A key is a text for the verbs, whatever it looks like.
      if ((same || isDay(read)) && (key !== "key" || read === source)) {
        node.value = read;
        return;
      }
      const theirs = read === undefined ? "no value that can be compared" : show(read);
      refuse(
        "without quotes, it is not the same for Pulumi and for the verbs",
        `${source} (for Pulumi: ${theirs})`,
        quoted(source),
      );
    },
  });
}

const UNTAGGED = "remove the tag, and put in quotes what is a text";
const quoted = (source: string): string =>
  `if it is a text, put it in quotes: "${source}"; if it is a number, write it in plain decimal digits`;
const isDay = (value: unknown): boolean => typeof value === "string" && PULUMI_DAY.test(value);

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
