/** Entry point of `./twofold`: results on stdout, progress and errors on stderr. */
import { Refusal } from "../host/stage.ts";
import { BadConfig } from "./bad-config.ts";
import { statusOf } from "./failure.ts";
import { buildProgram } from "./program.ts";

try {
  await buildProgram((status) => {
    process.exitCode = status;
  }).parseAsync(process.argv);
} catch (error) {
  // What is no refusal is a defect of twofold: its stack is wanted.
  process.stderr.write(
    `${error instanceof Refusal || error instanceof BadConfig ? error.message : ((error as Error).stack ?? String(error))}\n`,
  );
  process.exitCode = statusOf(error);
}
