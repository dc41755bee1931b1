/** How an error is told to the operator, and the exit status that goes with it. */
import { EXIT } from "./contract.ts";
import { CommandFailed } from "./process.ts";
import { Refusal } from "./stage.ts";

/** A defect of twofold itself: its place in the code is what helps. */
const isDefect = (error: Error): boolean =>
  error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;

export function describeError(error: unknown): { text: string; status: number } {
  if (error instanceof Refusal) {
    return { text: `refused, nothing was changed: ${error.message}`, status: EXIT.refused };
  }
  if (!(error instanceof Error)) return { text: `failed: ${String(error)}`, status: EXIT.failed };
  if (error instanceof CommandFailed) {
    const hint = "to do: see what it says, put that right, and run this again; it goes on from there";
    return { text: `failed: ${error.message}\n  ${hint}`, status: EXIT.failed };
  }
  if (isDefect(error)) {
    return { text: `failed, a defect of twofold: ${error.stack ?? error.message}`, status: EXIT.failed };
  }
  return { text: `failed: ${error.message}`, status: EXIT.failed };
}
