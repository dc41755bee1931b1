/** Pulumi, run for one lab: its state, passphrase and config lie in the lab's directory. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { ROOT } from "./environment.mjs";
import { codeOf, SetupError } from "./errors.mjs";
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
 * Unlocks the stack's state where its lock is a dead process's. Its caller holds the lab's lock and has ended earlier runs, but
 * whoever works on the lab by hand takes no lock but Pulumi's.
 *
 * Each dead lock is removed by itself, and not by `pulumi cancel`, which removes all that it finds.
 * @param {import("./lab-places.mjs").Places} places
 * @throws {SetupError} if it is a living one's, or if that can't be told.
 */
export function removeDeadLocks(places) {
  const directory = join(places.backend, ".pulumi/locks");
  const entries = existsSync(directory) ? readdirSync(directory, { recursive: true, encoding: "utf8" }) : [];
  for (const file of entries.filter((entry) => entry.endsWith(".json")).map((entry) => join(directory, entry))) {
    const holder = holderOf(file);
    if (holder === undefined) continue;
    const { pid, username, hostname: host, timestamp } = holder;
    const received = `process ${pid} of ${username}@${host}, since ${timestamp} (${file})`;
    if (host !== hostname()) {
      throw new SetupError({
        what: "the lab's state is locked by a pulumi of another machine, which can't be looked at from here",
        received,
        why: "two at once would write over each other's record of what they made",
        fix: "if none works on the lab any more (the machine may just have been renamed), remove that file, then run it again",
      });
    }
    if (runsPulumi(pid)) {
      throw new SetupError({
        what: "another pulumi is at work on the lab",
        received,
        why: "two at once would write over each other's record of what they made",
        fix: `wait until it has ended, or end it (kill ${pid}), then run it again`,
      });
    }
    rmSync(file, { force: true });
  }
}

/**
 * Who holds a lock of Pulumi's file backend (pkg/backend/diy/lock.go); undefined if the lock is gone meanwhile.
 * @param {string} file
 * @returns {{ pid: number, username: string, hostname: string, timestamp: string } | undefined}
 */
function holderOf(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw new SetupError({
      what: "a lock of the lab's state can't be read",
      received: `${file}: ${/** @type {Error} */ (error).message}`,
      why: "it says who works on the lab",
      fix: "if no pulumi does, remove that file, then run it again",
    });
  }
}

/**
 * Whether the process is a Pulumi: its number may be another's by now.
 * @param {number} pid
 */
function runsPulumi(pid) {
  try {
    // proc_pid_stat(5): number, name in brackets, state. A zombie has ended.
    const [, name, state] = /^\d+ \((.*)\) (\S)/s.exec(readFileSync(`/proc/${pid}/stat`, "utf8")) ?? [];
    return name === "pulumi" && state !== "Z";
  } catch {
    return false;
  }
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
