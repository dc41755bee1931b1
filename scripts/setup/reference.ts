/**
 * Writes what is made from the code: the JSON Schema of a stack's file, and README's references of config and verbs.
 *
 *   node scripts/setup/reference.ts           writes them
 *   node scripts/setup/reference.ts --check   changes nothing; exit status 1 if one of them is out of date
 */
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Command } from "commander";
import { configReference } from "../../components/topology/config-reference.ts";
import { stackFileSchema } from "../../components/topology/json-schema.ts";
import { buildProgram } from "../verbs/program.ts";

const PROJECT = resolve(import.meta.dirname, "../..");
export const SCHEMA_FILE = "components/topology/twofold.schema.json";
const README = "README.md";

/** The files that are made, wholly or in parts: each from what it is to what it should be. */
export const GENERATED: { file: string; wanted: (current: string) => string }[] = [
  { file: SCHEMA_FILE, wanted: schemaText },
  { file: README, wanted: (text) => between(between(text, "config", configReference()), "verbs", verbReference()) },
];

/** Biome's line width; the file has to be as its formatter would have it. */
const LINE_WIDTH = 120;

/** The schema with lists of words on one line where they fit, as Biome formats them. */
function schemaText(): string {
  const expanded = JSON.stringify(stackFileSchema(), null, 2);
  const text = expanded.replace(
    /^(.*)\[\n\s+("[^"]*"(?:,\n\s+"[^"]*")*)\n\s*\](,?)$/gm,
    (whole, before, words, comma) => {
      const line = `${before}[${words.replace(/,\n\s+/g, ", ")}]${comma}`;
      return line.length <= LINE_WIDTH ? line : whole;
    },
  );
  return `${text}\n`;
}

/** The help of every verb, as the terminal shows it. */
export function verbReference(): string {
  const program = buildProgram(() => undefined);
  return leaves(program)
    .map((command) => {
      command.configureHelp({ helpWidth: 125 });
      return `\`\`\`text\n${command.helpInformation().trimEnd()}\n\`\`\``;
    })
    .join("\n\n");
}

function leaves(command: Command): Command[] {
  return command.commands.flatMap((child) => (child.commands.length > 0 ? leaves(child) : [child]));
}

/** `text` with the part between the two markers of `name` replaced. Throws if the markers are not there. */
export function between(text: string, name: string, content: string): string {
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from === -1 || to < from) {
    throw new Error(`${README} has no place for the ${name} reference: put ${begin} and ${end} on lines of their own`);
  }
  return `${text.slice(0, from + begin.length)}\n\n${content}\n\n${text.slice(to)}`;
}

export function readGenerated(file: string): string {
  try {
    return readFileSync(resolve(PROJECT, file), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}

function main(): void {
  const checkOnly = process.argv.includes("--check");
  for (const { file, wanted } of GENERATED) {
    const current = readGenerated(file);
    const text = wanted(current);
    if (text === current) continue;
    if (checkOnly) {
      console.error(`${file} is out of date: run node scripts/setup/reference.ts`);
      process.exitCode = 1;
    } else {
      writeFileSync(resolve(PROJECT, file), text);
      console.log(`wrote ${file}`);
    }
  }
}

if (import.meta.main) main();
