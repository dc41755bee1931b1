/**
 * Who uses a Docker engine that a set-up started, so that the last one out stops it, and nobody stops it under another's hosts.
 *
 * Runs beside each other may have caches and state of their own, and share the engine all the same: the register is the machine's.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { writeAtomically } from "./files.mjs";

/** Empty after a reboot, as is the list of processes. */
export const REGISTER = "/run/twofold-engine";
const ENGINE = "engine";

/** Enters this process. @param {string} [directory] */
export function enter(directory = REGISTER) {
  mkdirSync(directory, { recursive: true });
  write(directory, String(process.pid), process.pid);
}

/** Removes this process. @param {string} [directory] */
export function leave(directory = REGISTER) {
  rmSync(join(directory, String(process.pid)), { force: true });
}

/** Notes the engine that a set-up started. @param {number} pid @param {string} [directory] */
export function started(pid, directory = REGISTER) {
  write(directory, ENGINE, pid);
}

/** @param {string} [directory] @returns {number | undefined} Process id of the engine that a set-up started, if it still runs. */
export function startedEngine(directory = REGISTER) {
  return living(directory, ENGINE);
}

/** @param {string} [directory] @returns {number[]} Process ids of the others that use it; those that were killed are forgotten. */
export function others(directory = REGISTER) {
  return readdirSync(directory).flatMap((name) => {
    if (!/^\d+$/.test(name) || name === String(process.pid)) return [];
    const pid = living(directory, name);
    if (pid === undefined) rmSync(join(directory, name), { force: true });
    return pid === undefined ? [] : [pid];
  });
}

/** @param {string} directory @param {string} name @param {number} pid */
function write(directory, name, pid) {
  writeAtomically(join(directory, name), `${pid} ${startTime(pid)}\n`);
}

/** @param {string} directory @param {string} name */
function living(directory, name) {
  let text;
  try {
    text = readFileSync(join(directory, name), "utf8");
  } catch {
    return undefined;
  }
  const [pid, since] = text.trim().split(" ");
  return since !== undefined && since === startTime(Number(pid)) ? Number(pid) : undefined;
}

/** With the process id it names one process for good: ids are used again. @param {number} pid */
function startTime(pid) {
  try {
    // proc_pid_stat(5), field 22; the second, the program's name, may hold spaces and brackets.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
