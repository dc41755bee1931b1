/**
 * `npm run prove -- NAME [AVA-ARGUMENT…]`: a proof that takes longer than a test may, test/prove/NAME.prove.ts.
 * A run without the real lightningd (TWOFOLD_LIGHTNINGD_ARCHIVE) says so.
 */
import { runMain } from "./errors.mjs";
import { namedFile } from "./named-file.mjs";
import { runSuite } from "./suite.mjs";

await runMain(async () => {
  const [name, ...rest] = process.argv.slice(2);
  const file = namedFile("test/prove", ".prove.ts", name, "npm run prove -- NAME");
  if (!process.env.TWOFOLD_LIGHTNINGD_ARCHIVE)
    console.log("not proved with the real lightningd: TWOFOLD_LIGHTNINGD_ARCHIVE is not set");
  return runSuite({ parameters: ["--config", "scripts/setup/ava-long.config.mjs", file, ...rest] });
});
