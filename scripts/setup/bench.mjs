/** `npm run bench -- NAME`: a benchmark, test/bench/NAME.bench.ts. It prints figures and their ratios and judges none. */
import { runMain } from "./errors.mjs";
import { namedFile } from "./named-file.mjs";
import { runSuite } from "./suite.mjs";

await runMain(async () => {
  const [name, ...rest] = process.argv.slice(2);
  const file = namedFile("test/bench", ".bench.ts", name, "npm run bench -- NAME");
  return runSuite({ parameters: ["--config", "scripts/setup/ava-long.config.mjs", file, ...rest] });
});
