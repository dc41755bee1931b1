/** How long a user waits for `npm run lab` and `npm run lab:down`; toolchain, host image and packages are cached by set-up. */
import { randomBytes } from "node:crypto";
import { loadavg } from "node:os";
import { join } from "node:path";
import test from "ava";
import { outputOf, runProgram } from "../helpers/run-program.ts";
import { median, seconds } from "./paired.ts";

const ROUNDS = 3;
const ROOT = join(import.meta.dirname, "../..");

test("from nothing to a running node, and back to nothing", async (t) => {
  t.timeout(30 * 60_000);
  const env = { ...process.env, TWOFOLD_LAB_ID: `b${randomBytes(4).toString("hex")}` };
  const npm = async (...words: string[]) => outputOf(await runProgram("npm", ["run", ...words], { cwd: ROOT, env }));
  const lightningd = process.env.TWOFOLD_LIGHTNINGD_ARCHIVE;
  const ups: number[] = [];
  const downs: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    try {
      ups.push(
        await seconds(() => npm("lab", ...(lightningd === undefined ? [] : ["--", "--lightningd", lightningd]))),
      );
    } finally {
      downs.push(await seconds(() => npm("lab:down")));
    }
  }
  const told = (values: number[]) =>
    `${median(values).toFixed(1)} s (${values.map((value) => value.toFixed(1)).join(", ")})`;
  t.log(
    `with ${lightningd === undefined ? "the lab daemon" : "the real lightningd"}, load ${loadavg()[0]?.toFixed(1)}:`,
  );
  t.log(`npm run lab       ${told(ups)}`);
  t.log(`npm run lab:down  ${told(downs)}`);
  t.pass();
});
