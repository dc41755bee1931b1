/** Child processes. Arguments are passed as they are; no shell is in between. */
import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { SetupError } from "./errors.mjs";

/**
 * @typedef {object} Options
 * @property {Record<string, string | undefined>} [env] Whole environment of the child; default: this process's.
 * @property {string} [cwd]
 * @property {string} [input] Standard input.
 * @property {number} [timeout] Seconds after which the child is terminated.
 * @property {(line: string) => void} [line] Called with each line of either output as it comes.
 */

/** @typedef {{ status: number | null, signal: NodeJS.Signals | null, stdout: string, stderr: string, timedOut: boolean }} Result */

/**
 * Runs a program to its end, whatever its exit status is.
 * @param {string} program @param {string[]} parameters @param {Options} [options]
 * @returns {Promise<Result>}
 * @throws {SetupError} if the program can't be started.
 */
export function attempt(program, parameters, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, parameters, {
      env: options.env ?? process.env,
      cwd: options.cwd,
      stdio: ["pipe", "pipe", "pipe"],
    });
    const output = { stdout: "", stderr: "" };
    let timedOut = false;
    const timer = options.timeout
      ? setTimeout(() => {
          timedOut = true;
          child.kill("SIGKILL");
        }, options.timeout * 1000)
      : undefined;
    for (const name of /** @type {const} */ (["stdout", "stderr"])) {
      child[name].setEncoding("utf8").on("data", (text) => {
        output[name] += text;
      });
      if (options.line) createInterface({ input: child[name] }).on("line", options.line);
    }
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(
        new SetupError({
          what: `${program} could not be started`,
          received: error.message,
          why: "set-up needs it",
          fix: `install ${program}, or put it on PATH`,
        }),
      );
    });
    child.on("close", (status, signal) => {
      clearTimeout(timer);
      resolve({ status, signal, timedOut, ...output });
    });
    child.stdin.on("error", () => {}); // the child may end without reading all of it; its exit status tells
    child.stdin.end(options.input);
  });
}

/**
 * Runs a program that has to succeed.
 * @param {string} program @param {string[]} parameters @param {Options & { why?: string, fix?: string }} [options]
 * @returns {Promise<string>} Its standard output.
 * @throws {SetupError} with the last lines of what it said.
 */
export async function run(program, parameters, options = {}) {
  const result = await attempt(program, parameters, options);
  if (result.status === 0) return result.stdout;
  const said = lastLines(`${result.stdout}\n${result.stderr}`, 15);
  const ended = result.timedOut
    ? `did not end within ${options.timeout} s`
    : `ended with ${result.signal ?? `exit status ${result.status}`}`;
  throw new SetupError({
    what: `${program} ${parameters[0] ?? ""} ${ended}`,
    received: said || "no output",
    why: options.why ?? "set-up can't go on without it",
    fix:
      options.fix ??
      (/no space left on device|ENOSPC/i.test(said)
        ? "free disk space, then run it again"
        : "see its output, then run it again"),
  });
}

/** @param {string} text @param {number} count */
export function lastLines(text, count) {
  return text
    .split(/[\r\n]+/)
    .filter((line) => line.trim() !== "")
    .slice(-count)
    .join("\n    ");
}

/**
 * Where a program lies on PATH.
 * @param {string} program
 * @returns {string | undefined}
 */
export function which(program) {
  return whichAll(program)[0];
}

/**
 * Every place on PATH where a program lies, in PATH's order.
 * @param {string} program
 */
export function whichAll(program) {
  const path = process.env.PATH ?? "";
  return path
    .split(delimiter)
    .map((directory) => join(directory, program))
    .filter(isExecutable);
}

/** @param {string} file */
export function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
