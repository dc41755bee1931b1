/**
 * `npm run prove -- NAME [AVA-ARGUMENT…]`: a proof that takes longer than a test may, test/prove/NAME.prove.ts.
 * What passes with the real lightningd (TWOFOLD_LIGHTNINGD_ARCHIVE) is written into the survival table's proofs, a file to be committed; a run
 * without it says so.
 */
import { runMain } from "./errors.mjs";
import { namedFile } from "./named-file.mjs";
import { runSuite } from "./suite.mjs";

await runMain(async () => {
  const [name, ...rest] = process.argv.slice(2);
  const file = namedFile("test/prove", ".prove.ts", name, "npm run prove -- NAME");
  // Tests write their passes down only when they are asked to (test/helpers/proofs.ts).
  if (process.env.TWOFOLD_LIGHTNINGD_ARCHIVE) process.env.TWOFOLD_RECORD_PROOFS = "1";
  else console.log("not proved with the real lightningd: TWOFOLD_LIGHTNINGD_ARCHIVE is not set");
  return runSuite({ parameters: ["--config", "scripts/setup/ava-long.config.mjs", file, ...rest] });
});
