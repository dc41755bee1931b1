/** Directories that are gone with the process; each test file is one. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** @returns The path of a new, empty directory. */
export function scratchDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "twofold-scratch-"));
  process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
