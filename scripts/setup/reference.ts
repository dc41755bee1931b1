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

/** Files that are made, wholly or in parts, with the text that they should have. */
export function generated(): { file: string; current: string; wanted: string }[] {
  const schema = { file: SCHEMA_FILE, current: read(SCHEMA_FILE), wanted: schemaText() };
  const readme = read(README);
  const wanted = between(between(readme, "config", configReference()), "verbs", verbReference());
  return [schema, { file: README, current: readme, wanted }];
}

function schemaText(): string {
  return `${JSON.stringify(stackFileSchema(), null, 2)}\n`;
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

function read(file: string): string {
  try {
    return readFileSync(resolve(PROJECT, file), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}

function main(): void {
  const checkOnly = process.argv.includes("--check");
  const outdated = generated().filter(({ current, wanted }) => current !== wanted);
  for (const { file, wanted } of outdated) {
    if (checkOnly) {
      console.error(`${file} is out of date: run node scripts/setup/reference.ts`);
    } else {
      writeFileSync(resolve(PROJECT, file), wanted);
      console.log(`wrote ${file}`);
    }
  }
  if (checkOnly && outdated.length > 0) process.exitCode = 1;
}

if (import.meta.main) main();
