/** Proofs and benchmarks: as the tests, but one at a time, since each needs the machine for itself, and for hours. */
import tests from "../../ava.config.js";

export default {
  ...tests,
  files: ["test/prove/**/*.prove.ts", "test/bench/**/*.bench.ts"],
  concurrency: 1,
  timeout: "6h",
};
