/** Pulumi, run for one lab: its state, passphrase and config lie in the lab's directory. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { ROOT } from "./environment.mjs";
import { SetupError } from "./errors.mjs";
import { writeAtomically } from "./files.mjs";
import { RUN_VARIABLE } from "./lab-places.mjs";
import { attempt, run } from "./run.mjs";

/**
 * The environment in which `pulumi` works on the lab; also for whoever runs it by hand.
 * @param {import("./lab-places.mjs").Places} places @param {string} toolchain
 * @param {import("./plugins.mjs").Plugins} plugins @param {import("./engine.mjs").Engine} engine
 * @returns {Record<string, string | undefined>}
 */
export function labEnvironment(places, toolchain, plugins, engine) {
  const { PULUMI_CONFIG_PASSPHRASE: _, PULUMI_STACK: __, ...inherited } = process.env;
  const path = [toolchain, ...plugins.path, join(ROOT, "node_modules/.bin"), process.env.PATH ?? ""];
  return {
    ...inherited,
    PATH: path.join(delimiter),
    PULUMI_BACKEND_URL: `file://${places.backend}`,
    PULUMI_CONFIG_PASSPHRASE_FILE: places.passphrase,
    PULUMI_SKIP_UPDATE_CHECK: "true",
    DOCKER_HOST: engine.host,
    [RUN_VARIABLE]: places.directory,
  };
}

/**
 * Makes sure of backend, passphrase and stack.
 * @param {import("./lab-places.mjs").Places} places @param {Record<string, string | undefined>} env
 * @returns {Promise<string>} The salt of the stack's encryption, which belongs into its config.
 */
export async function ensureStack(places, env) {
  mkdirSync(places.backend, { recursive: true });
  // It protects nothing that doesn't lie beside it; Pulumi wants one for the operator's key in its state.
  if (!existsSync(places.passphrase)) writeAtomically(places.passphrase, `${randomBytes(24).toString("base64url")}\n`);
  // `pulumi stack init` writes the salt beside a Pulumi.yaml and nowhere else; not into the checkout.
  mkdirSync(places.project, { recursive: true });
  const file = join(places.project, `Pulumi.${places.stack}.yaml`);
  if (!existsSync(join(places.project, "created"))) {
    rmSync(file, { force: true });
    const name = /^name: (.+)$/m.exec(readFileSync(join(ROOT, "Pulumi.yaml"), "utf8"))?.[1];
    writeFileSync(join(places.project, "Pulumi.yaml"), `name: ${name}\nruntime: nodejs\n`);
    const options = { cwd: places.project, env };
    // One that a killed set-up made has another salt, and no resources yet.
    await attempt("pulumi", ["stack", "rm", "--yes", places.stack], options);
    await run("pulumi", ["stack", "init", "--non-interactive", "--no-select", places.stack], options);
    writeFileSync(join(places.project, "created"), "");
  }
  const salt = /^encryptionsalt: (.+)$/m.exec(readFileSync(file, "utf8"))?.[1];
  if (salt) return salt;
  throw new SetupError({
    what: "Pulumi wrote no encryption salt",
    received: file,
    why: "the stack's secrets are encrypted with it",
    fix: "npm run lab:down, then npm run lab",
  });
}

/**
 * Ids of the resources of one type in the stack's state.
 * @param {import("./lab-places.mjs").Places} places @param {Record<string, string | undefined>} env @param {string} type
 * @returns {Promise<string[]>}
 */
export async function resourceIds(places, env, type) {
  const exported = await run("pulumi", ["stack", "export", "--stack", places.stack], { cwd: places.project, env });
  /** @type {{ type: string, id?: string }[]} */
  const resources = JSON.parse(exported).deployment?.resources ?? [];
  return resources.flatMap((resource) => (resource.type === type && resource.id ? [resource.id] : []));
}

/**
 * Unlocks the stack's state. Its caller holds the lab's lock and has ended earlier runs, so the lock is a dead one.
 * @param {import("./lab-places.mjs").Places} places @param {Record<string, string | undefined>} env
 */
export async function cancelDeadLock(places, env) {
  if (!existsSync(join(places.backend, ".pulumi/locks"))) return;
  await run("pulumi", ["cancel", "--yes", "--stack", places.stack], { cwd: places.project, env });
}

/**
 * `pulumi up`, shown as it goes.
 * @param {import("./lab-places.mjs").Places} places @param {Record<string, string | undefined>} env
 * @param {{ refresh: boolean, log: (line: string) => void, terminal: boolean }} options
 */
export async function up(places, env, { refresh, log, terminal }) {
  const parameters = ["up", "--yes", "--skip-preview", "--suppress-outputs", "--stack", places.stack];
  parameters.push("--config-file", places.configFile, ...(refresh ? ["--refresh"] : []));
  const child = spawn("pulumi", parameters, {
    cwd: ROOT,
    env,
    stdio: ["ignore", terminal ? "inherit" : "pipe", terminal ? "inherit" : "pipe"],
  });
  for (const stream of [child.stdout, child.stderr]) {
    if (stream) createInterface({ input: stream }).on("line", (line) => line.trim() && log(line));
  }
  const status = await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(code ?? signal));
  });
  if (status === 0) return;
  throw new SetupError({
    what: "pulumi up failed",
    received: `exit status ${status}; its messages are above`,
    why: "the hosts are not as the topology says",
    fix: `mend it and run it again, it goes on from there; or npm run lab:down`,
  });
}
