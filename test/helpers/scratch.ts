/** Directories that are gone with the process; each test file is one. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const made: string[] = [];
process.once("exit", () => {
  for (const directory of made) rmSync(directory, { recursive: true, force: true });
});

/** @returns The path of a new, empty directory. */
export function scratchDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "twofold-scratch-"));
  made.push(directory);
  return directory;
}
