/** The lock that keeps a second daemon of the same lightning-dir and network out, for as long as this process lives. */
import { spawnSync } from "node:child_process";
import { openSync, rmSync, writeSync } from "node:fs";
import { Failure, STATUS } from "./failure.ts";

/**
 * Takes the lock and writes the process id. Node has no lockf(3): flock(1) locks the open file that it inherits, and the lock stays with
 * this process, which keeps that file open.
 */
export function lockPidFile(path: string): void {
  let file: number;
  try {
    // As the real daemon: created, but not truncated.
    file = openSync(path, "r+");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT")
      throw new Failure(`Failed to open PID file: ${(error as Error).message}`);
    file = openSync(path, "a", 0o640);
  }
  const result = spawnSync("flock", ["--exclusive", "--nonblock", "3"], {
    stdio: ["ignore", "ignore", "inherit", file],
  });
  if (result.error) throw new Failure(`flock(1) is needed to lock ${path}: ${result.error.message}`);
  if (result.status !== 0)
    throw new Failure(`lightningd already running? Error locking PID file: ${path} is locked`, STATUS.pidFileLock);
  writeSync(file, `${process.pid}\n`, 0);
}

export function removePidFile(path: string): void {
  rmSync(path, { force: true });
}
