/**
 * Takes a lab down: processes, containers, network, mounts, loop devices, directory.
 *
 * `pulumi destroy` would stop every service in order first and needs hosts that answer; here hosts and state go together, so
 * the containers are killed. What is to be removed is found by label and by where its files lie, and not by the journal
 * alone, so that it does not matter where an `up` was killed or what is gone already.
 */
import { existsSync, rmSync } from "node:fs";
import { ensureEngine } from "./engine.mjs";
import { LABEL, labPlaces } from "./lab-places.mjs";
import { endLeftovers } from "./lab-processes.mjs";
import { withLock } from "./lock.mjs";
import { detachLoopsBelow, unmountBelow } from "./mounts.mjs";
import { attempt, run, which } from "./run.mjs";
import { waitUntil } from "./wait.mjs";

/** Seconds for containers and networks to be gone. */
const REMOVAL_SECONDS = 15;

/**
 * @param {{ name?: string | undefined, id?: string | undefined, log?: (line: string) => void }} [options]
 * @throws {import("./errors.mjs").SetupError} naming what could not be removed.
 */
export async function labDown({ name, id, log = console.log } = {}) {
  const places = labPlaces(name, id, { leftovers: true });
  await withLock(places.lock, log, async () => {
    await endLeftovers(places.directory, log);
    // A lab has a directory once there was an engine. It may be one that a set-up started and that a reboot has ended since.
    if (existsSync(places.directory)) await ensureEngine(log);
    if (await engineAnswers()) {
      // More than once: a container that a killed run had asked for may appear after the first look.
      await waitUntil(async () => !(await removeLabelled(places.stack, log)), REMOVAL_SECONDS);
    }
    if (!existsSync(places.directory)) return log(`lab '${places.stack}': nothing left`);
    // From the inside out: what is mounted from the disks, the disks, the filesystem that holds them.
    await unmountBelow(places.directory, [places.store]);
    await detachLoopsBelow(places.store);
    await unmountBelow(places.store);
    await detachLoopsBelow(places.directory);
    rmSync(places.directory, { recursive: true, force: true });
    log(`lab '${places.stack}' is down: ${places.directory} is gone`);
  });
}

async function engineAnswers() {
  return which("docker") !== undefined && (await attempt("docker", ["version"], { timeout: 20 })).status === 0;
}

/**
 * Ids of what carries the lab's label.
 * @param {"container" | "network"} kind @param {string} stack
 */
export async function labelled(kind, stack) {
  const all = kind === "container" ? ["--all"] : [];
  const listing = await run("docker", [
    kind,
    "ls",
    ...all,
    "--quiet",
    "--no-trunc",
    "--filter",
    `label=${LABEL}=${stack}`,
  ]);
  return listing.split("\n").filter((id) => id !== "");
}

/**
 * @param {string} stack @param {(line: string) => void} log
 * @returns {Promise<boolean>} Whether there was anything.
 */
async function removeLabelled(stack, log) {
  const containers = await labelled("container", stack);
  const networks = await labelled("network", stack);
  if (containers.length > 0) {
    log(`removing ${containers.length} container${containers.length > 1 ? "s" : ""}`);
    await run("docker", ["rm", "--force", "--volumes", ...containers]);
  }
  if (networks.length > 0) {
    log("removing the network");
    await run("docker", ["network", "rm", ...networks]);
  }
  return containers.length + networks.length > 0;
}
