/** Asking before something is changed. */
import { createInterface } from "node:readline/promises";
import { Refusal } from "../host/stage.ts";

/** Asks on the terminal. @throws {Refusal} without one: nobody could answer. */
export async function confirmed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new Refusal({
      code: "verb/no-terminal",
      what: "this verb asks before it changes anything, and there is no terminal to ask on",
      received: "stdin is no terminal",
      why: "what is shown is what will be changed, so somebody has to have seen it",
      fix: "run it with --yes, or on a terminal",
    });
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`${question} [y/N] `);
  terminal.close();
  return /^y(es)?$/i.test(answer.trim());
}
