/** lightning-hsmtool as far as the lab needs it: `getnodeid HSM_SECRET`. */
import { readFileSync } from "node:fs";
import { STATUS } from "./failure.ts";
import { nodeId, readSeed } from "./hsm-secret.ts";

const [method, path] = process.argv.slice(2);
if (method !== "getnodeid" || path === undefined) {
  // The real one shows its usage with status 0 as well.
  console.log("lightning-hsmtool <method> [arguments]\nmethods:\n\t- getnodeid <path/to/hsm_secret>");
} else {
  try {
    console.log(nodeId(readSeed(readFileSync(path))));
  } catch (error) {
    process.stderr.write(`lightning-hsmtool: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = STATUS.hsmSecretFile;
  }
}
