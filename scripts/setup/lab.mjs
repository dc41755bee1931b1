/**
 * `npm run lab [-- NAME] [--lightningd ARCHIVE]` and `npm run lab:down [-- NAME]`.
 *
 * Runs on Node 20 without any package: on a fresh clone it fetches them first.
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { leaveEngine } from "./engine.mjs";
import { ROOT } from "./environment.mjs";
import { isMain, runMain, SetupError } from "./errors.mjs";
import { labDown } from "./lab-down.mjs";
import { knownLabs } from "./lab-places.mjs";
import { labUp } from "./lab-up.mjs";
import { attempt } from "./run.mjs";

export { labDown, labUp };

const USAGE = `usage: npm run lab [-- [NAME] [--lightningd ARCHIVE]]
       npm run lab:down [-- NAME]

NAME is one of ${knownLabs().join(", ")} (stacks/labs/NAME.yaml).
ARCHIVE is laid out like Core Lightning's release: usr/bin, usr/libexec/c-lightning.`;

/** @param {string[]} parameters */
async function main(parameters) {
  const { action, name, lightningd, help } = parse(parameters);
  if (help) {
    console.log(USAGE);
    return 0;
  }
  if (action === "down") {
    await labDown({ name });
    await leaveEngine(console.log);
    return 0;
  }
  const started = Date.now();
  const lab = await labUp({ name, lightningd, terminal: process.stdout.isTTY });
  console.log(`\nThe lab '${lab.stack}' is up after ${((Date.now() - started) / 1000).toFixed(0)} s.\n`);
  const status = await attempt(join(ROOT, "twofold"), ["status", "--stack", lab.stack], { env: lab.env });
  console.log(`${status.stdout}${status.stderr}`);
  console.log("Hosts:");
  for (const [host, { sshPort }] of Object.entries(lab.hosts)) {
    console.log(`  ${host.padEnd(10)} ./twofold ssh ${host} -s ${lab.stack}   (root@127.0.0.1, port ${sshPort})`);
  }
  const instance = process.env.TWOFOLD_LAB_ID ? `TWOFOLD_LAB_ID=${process.env.TWOFOLD_LAB_ID} ` : "";
  const which = name === undefined ? "" : ` -- ${name}`;
  const next = [
    [`./twofold status -s ${lab.stack}`, "node, copies, devices"],
    [`./twofold check -s ${lab.stack}`, "whether anything on the hosts has drifted"],
    [`${instance}npm run lab${which}`, "again: skips what is there"],
    [`${instance}npm run lab:down${which}`, "removes every trace of it"],
  ];
  console.log("\nNext:");
  const width = Math.max(...next.map(([command = ""]) => command.length));
  for (const [command = "", what] of next) console.log(`  ${command.padEnd(width)}   ${what}`);
  return 0;
}

/** @param {string[]} parameters */
function parse(parameters) {
  try {
    const { values, positionals } = parseArgs({
      args: parameters,
      allowPositionals: true,
      options: { lightningd: { type: "string" }, help: { type: "boolean", short: "h" } },
    });
    const [action, name, ...rest] = positionals;
    if ((action !== "up" && action !== "down") || rest.length > 0) throw new Error(`'${positionals.join(" ")}'`);
    if (action === "down" && values.lightningd) throw new Error("--lightningd makes no sense for lab:down");
    return { action, name, ...values };
  } catch (error) {
    throw new SetupError({
      what: "the command line can't be used",
      received: /** @type {Error} */ (error).message,
      why: "it takes at most one lab's name, and options only after '--'",
      fix: USAGE,
    });
  }
}

if (isMain(import.meta.url)) await runMain(() => main(process.argv.slice(2)));
