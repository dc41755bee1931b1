/** Processes of a lab's run that outlived it: a Pulumi whose `npm run lab` was killed goes on by itself. */
import { readdirSync, readFileSync } from "node:fs";
import { codeOf } from "./errors.mjs";
import { RUN_VARIABLE } from "./lab-places.mjs";
import { waitUntil } from "./wait.mjs";

/** Seconds that Pulumi gets to end by itself. */
const GRACE_SECONDS = 5;

/**
 * Ends what is left of earlier runs of the lab. Its caller holds the lab's lock, so no run is alive.
 * @param {string} directory The lab's. @param {(line: string) => void} say
 */
export async function endLeftovers(directory, say) {
  const left = processesOf(directory);
  if (left.length === 0) return;
  say(`ending what a killed run left: ${left.map(({ pid, name }) => `${name} (${pid})`).join(", ")}`);
  signal(left, "SIGTERM");
  if (await waitUntil(() => processesOf(directory).length === 0, GRACE_SECONDS)) return;
  signal(processesOf(directory), "SIGKILL");
  await waitUntil(() => processesOf(directory).length === 0, GRACE_SECONDS);
}

/** @param {{ pid: number }[]} processes @param {NodeJS.Signals} name */
function signal(processes, name) {
  for (const { pid } of processes) {
    try {
      process.kill(pid, name);
    } catch (error) {
      if (codeOf(error) !== "ESRCH") throw error; // it has ended meanwhile
    }
  }
}

/** @param {string} directory */
function processesOf(directory) {
  const wanted = `${RUN_VARIABLE}=${directory}`;
  return readdirSync("/proc").flatMap((entry) => {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) return [];
    try {
      // environ is empty for a zombie: it has nothing left to end.
      if (!readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").includes(wanted)) return [];
      return [{ pid, name: readFileSync(`/proc/${pid}/comm`, "utf8").trim() }];
    } catch {
      return []; // ended meanwhile, or another user's
    }
  });
}
