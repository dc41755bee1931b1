/** Debian packages on this machine. */
import { existsSync, readFileSync } from "node:fs";
import { SetupError } from "./errors.mjs";
import { thinned } from "./progress.mjs";
import { attempt, run } from "./run.mjs";

/** Seconds to wait for another apt or dpkg. */
const APT_LOCK_SECONDS = 300;

/**
 * Which of the packages are not installed.
 * @param {string[]} names
 * @returns {Promise<string[]>}
 */
export async function missingPackages(names) {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders
  const format = "${Package} ${db:Status-Status}\n";
  const { stdout } = await attempt("dpkg-query", ["--show", "--showformat", format, ...names]).catch(
    () => ({ stdout: "" }), // no dpkg: ensurePackages() says what follows from that
  );
  const installed = new Set(
    stdout.split("\n").flatMap((line) => (line.endsWith(" installed") ? [line.split(" ")[0]] : [])),
  );
  return names.filter((name) => !installed.has(name));
}

/**
 * @param {string[]} names Installed ones among them are left as they are.
 * @param {string} why What they are for. @param {(line: string) => void} say
 * @throws {SetupError} if packages are missing and can't be installed by this user on this system.
 */
export async function ensurePackages(names, why, say) {
  const missing = await missingPackages(names);
  if (missing.length === 0) return say(`installed: ${names.join(", ")}`);
  const debian = existsSync("/etc/debian_version");
  if (!debian || process.getuid?.() !== 0) {
    throw new SetupError({
      what: `packages are missing on this machine: ${missing.join(", ")}`,
      received: debian ? `user id ${process.getuid?.()}` : `a system other than Debian (${systemName()})`,
      why,
      fix: debian
        ? `as root: apt-get install ${missing.join(" ")}`
        : "install what these packages contain by your system's means",
    });
  }
  say(`installing ${missing.join(", ")}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const lock = ["-o", `DPkg::Lock::Timeout=${APT_LOCK_SECONDS}`];
  const install = ["install", "-y", "--no-install-recommends", ...lock, ...missing];
  let installed = await attempt("apt-get", install, { env, line: thinned(say) });
  if (installed.status === 0) return;
  if (/dpkg was interrupted/.test(installed.stdout + installed.stderr)) {
    // apt does nothing until that is put right. A file that the administrator changed stays as it is.
    say("an earlier installation was interrupted: dpkg --configure -a");
    await run("dpkg", ["--configure", "-a", "--force-confdef", "--force-confold"], { env, line: thinned(say), why });
    installed = await attempt("apt-get", install, { env, line: thinned(say) });
    if (installed.status === 0) return;
  }
  // The package lists may be missing or too old.
  await run("apt-get", ["update", ...lock], { env, line: thinned(say), why });
  await run("apt-get", install, { env, line: thinned(say), why });
}

function systemName() {
  try {
    return /^PRETTY_NAME="?(.*?)"?$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "unknown";
  } catch {
    return "unknown";
  }
}
