/** Files that are either as before or as after, whenever the machine stops. */
import { closeSync, copyFileSync, fsyncSync, linkSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { codeOf } from "./errors.mjs";

/** @param {string} file @param {string} text @param {number} [mode] */
export function writeAtomically(file, text, mode = 0o600) {
  const draft = `${file}.new`;
  const handle = openSync(draft, "w", mode);
  try {
    writeSync(handle, text);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  renameSync(draft, file);
  const directory = openSync(dirname(file), "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

/**
 * A second name for a file, or a copy where the filesystems differ; `to` appears whole or not at all.
 * @param {string} from @param {string} to
 */
export function linkOrCopy(from, to) {
  const draft = `${to}.new`;
  rmSync(draft, { force: true });
  try {
    linkSync(from, draft);
  } catch (error) {
    if (codeOf(error) !== "EXDEV") throw error;
    copyFileSync(from, draft);
  }
  renameSync(draft, to);
}
