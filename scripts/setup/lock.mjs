/** Locks between set-ups that run at the same time. */
import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { SetupError } from "./errors.mjs";

/**
 * Runs `work` while holding the lock `file`, which is there only while somebody holds it.
 *
 * The lock is the kernel's (flock(1)), held by a child that ends with this process's end of a pipe: a killed set-up
 * leaves no lock behind, so there is none to be broken.
 *
 * @template T
 * @param {string} file @param {(line: string) => void} say Told who is waited for. @param {() => Promise<T>} work
 * @returns {Promise<T>}
 * @throws {SetupError} if the lock file can't be made.
 */
export async function withLock(file, say, work) {
  mkdirSync(dirname(file), { recursive: true });
  const path = join(realpathSync(dirname(file)), file.slice(dirname(file).length + 1));
  let holder = await acquire(path, say);
  // Who held it before removed the file as the last thing it did: then this lock is on a file that nobody else will see.
  while (!holds(holder, path)) {
    await release(holder);
    holder = await acquire(path, say);
  }
  try {
    writeFileSync(path, `process ${process.pid} (${process.argv.slice(1).join(" ")})\n`);
    return await work();
  } finally {
    rmSync(path, { force: true });
    await release(holder);
  }
}

/**
 * @param {string} file @param {(line: string) => void} say
 * @returns {Promise<import("node:child_process").ChildProcess>}
 */
async function acquire(file, say) {
  // cat answers only once flock has got the lock; it is not reached if flock fails.
  const holder = spawn("flock", [file, "cat"], { stdio: ["pipe", "pipe", "pipe"] });
  holder.stdin.on("error", () => {}); // told by the exit status below
  holder.stdin.write("locked\n");
  const notice = setTimeout(() => say(`waiting for ${holderOf(file)}: it holds ${file}`), 500);
  try {
    await new Promise((resolve, reject) => {
      const fail = (/** @type {unknown} */ reason) =>
        reject(
          new SetupError({
            what: "a lock could not be taken",
            received: `${file}: ${reason}`,
            why: "two set-ups at once would get into each other's way",
            fix: "check that flock (util-linux) is installed and that the directory can be written to",
          }),
        );
      let complaint = "";
      holder.stderr.on("data", (text) => {
        complaint += text;
      });
      holder.on("error", fail);
      holder.on("close", (status) => fail(complaint.trim() || `flock ended with ${status}`));
      holder.stdout.once("data", resolve);
    });
  } finally {
    clearTimeout(notice);
  }
  return holder;
}

/** @param {import("node:child_process").ChildProcess} holder */
async function release(holder) {
  if (holder.exitCode !== null || holder.signalCode !== null) return;
  await new Promise((resolve) => {
    holder.on("exit", resolve);
    holder.stdin?.end();
  });
}

/** @param {import("node:child_process").ChildProcess} holder @param {string} file */
function holds(holder, file) {
  const directory = `/proc/${holder.pid}/fd`;
  try {
    return readdirSync(directory).some((number) => readlinkSync(join(directory, number)) === file);
  } catch {
    return false; // flock was killed meanwhile
  }
}

/** @param {string} file */
function holderOf(file) {
  try {
    return readFileSync(file, "utf8").trim() || "another process";
  } catch {
    return "another process";
  }
}
