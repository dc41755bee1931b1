import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** A set-up step that can't go on: what was wrong, the value received, why it matters, what to do. */
export class SetupError extends Error {
  /** @param {{ what: string, received: string, why: string, fix: string }} parts */
  constructor({ what, received, why, fix }) {
    super(`${what}\n  received: ${received}\n  why: ${why}\n  to do: ${fix}`);
    this.name = "SetupError";
  }
}

/**
 * The system's name of an error, such as ENOENT; fetch() puts it into the cause.
 * @param {unknown} error
 * @returns {string | undefined}
 */
export function codeOf(error) {
  const { code, cause } = /** @type {NodeJS.ErrnoException & { cause?: { code?: string } }} */ (error);
  return code ?? cause?.code;
}

/**
 * Runs a command line program's main function: a SetupError is told without a stack trace.
 * @param {() => Promise<number | undefined>} main Resolves to the exit status.
 */
export async function runMain(main) {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    process.exitCode = 1;
    console.error(`\nerror: ${told(/** @type {Error} */ (error))}`);
  }
}

/**
 * Whether Node was started with this very file, by whatever path: Node follows links for the module's URL and not for argv,
 * and a URL writes spaces and foreign letters otherwise.
 * @param {string} url The module's import.meta.url.
 */
export function isMain(url) {
  const started = process.argv[1];
  return started !== undefined && realpathSync(started) === realpathSync(fileURLToPath(url));
}

/** @param {Error} error */
function told(error) {
  if (error instanceof SetupError) return error.message;
  const code = codeOf(error) ?? "";
  if (!["ENOSPC", "EDQUOT", "EROFS"].includes(code)) return error.stack;
  return new SetupError({
    what: code === "EROFS" ? "a file can't be written: its filesystem is read-only" : "the disk is full",
    received: error.message,
    why: "set-up keeps caches and labs there, and can't go on without them",
    fix: "make room, or set XDG_CACHE_HOME (caches) or XDG_STATE_HOME (labs) to a place that has it; the same command then goes on",
  }).message;
}
