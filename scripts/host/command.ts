/** What a command of the host program is; each has a file of its own in commands/ and an entry in main.ts. */
import { text } from "node:stream/consumers";
import { STAGE_NAMES, type StageName } from "./contract.ts";
import { Refusal } from "./stage.ts";

export interface Command {
  /** Arguments, as in a manual page: "apply STAGE MACHINE". */
  usage: string;
  /** What it does, in one line. */
  summary: string;
  /** Returns the exit status (contract.ts, EXIT). */
  run(args: readonly string[]): Promise<number>;
}

/** The whole of stdin. */
export const readStdin = (): Promise<string> => text(process.stdin);

/** Prints the one line of JSON with which a command ends. */
export function printJson(value: unknown): void {
  console.log(JSON.stringify(value));
}

/** @throws {Refusal} if arguments are missing or too many */
export function expectArguments(command: Pick<Command, "usage">, args: readonly string[], count: number): void {
  if (args.length === count) return;
  throw new Refusal({
    code: "HOST-ARGUMENTS",
    what: `this command takes ${count} argument${count === 1 ? "" : "s"}`,
    received: args.length === 0 ? "none" : args.join(" "),
    why: "an argument that isn't understood could mean something else than what would be done",
    fix: `run ${command.usage}`,
  });
}

/** @throws {Refusal} */
export function parseStageName(value: string | undefined): StageName {
  const found = STAGE_NAMES.find((name) => name === value);
  if (found !== undefined) return found;
  throw new Refusal({
    code: "HOST-ARGUMENTS",
    what: "there is no such stage",
    received: value ?? "nothing",
    why: "nothing can be planned for it",
    fix: `name one of ${STAGE_NAMES.join(", ")}`,
  });
}

/** @throws {Refusal} unless this process is root */
export function requireRoot(): void {
  const uid = process.geteuid?.();
  if (uid === 0) return;
  throw new Refusal({
    code: "HOST-ROOT",
    what: "this needs root",
    received: `uid ${uid}`,
    why: "packages, mounts and units belong to root; no part of it works for another account",
    fix: "log in as root ('user: root' of the host in the stack's config)",
  });
}
