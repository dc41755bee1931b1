/** Debian packages, without questions, also after an installation that was killed half-way. */
import { CommandFailed, type Ran, run } from "./process.ts";
import type { ApplyContext } from "./stage.ts";

/** How long another package manager (unattended-upgrades) is waited for, in seconds. */
const LOCK_TIMEOUT_SECONDS = 300;

const APT_OPTIONS = [
  ...["-o", `DPkg::Lock::Timeout=${LOCK_TIMEOUT_SECONDS}`],
  // A mirror that doesn't answer must not hold an `up` for minutes (apt's default: 30 s a connection, every address).
  ...["-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20", "-o", "Acquire::Retries=2"],
  // A file that the administrator changed stays as it is.
  ...["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"],
];

const ENVIRONMENT = { DEBIAN_FRONTEND: "noninteractive", NEEDRESTART_SUSPEND: "1" };

/** What apt-get(8) says when its lists are older than the mirror, or not there at all. */
export function listsAreStale(output: string): boolean {
  return /Unable to locate package|has no installation candidate|\b404\b|Unable to fetch some archives/.test(output);
}

/** What apt-get(8) says after dpkg was killed; it does nothing until that is put right. */
export function wasInterrupted(output: string): boolean {
  return /dpkg was interrupted|dpkg --configure -a/.test(output);
}

/** The mirror could not be reached, in words for the operator. */
export class PackagesUnreachable extends Error {
  constructor(doing: string, ran: Ran) {
    const lines = `${ran.stdout}\n${ran.stderr}`.split("\n").filter((line) => /^(E|W|Err):?/.test(line));
    super(
      `${doing} failed: the package mirror could not be used\n` +
        `  received: ${lines.slice(0, 6).join("\n    ") || ran.stderr.trim()}\n` +
        "  why: stages after this one need the packages; none was installed\n" +
        "  to do: check the host's network, name resolution and /etc/apt/sources.list.d, then run this again",
    );
    this.name = "PackagesUnreachable";
  }
}

async function aptGet(args: readonly string[], context: ApplyContext): Promise<Ran> {
  return run("apt-get", ["--quiet", ...APT_OPTIONS, ...args], {
    env: ENVIRONMENT,
    onLine: (line) => {
      if (/^Setting up |^Need to get /.test(line)) context.progress(`  ${line}`);
    },
  });
}

/** Installs packages and nothing but what they depend on. The lists are updated only if they don't do. */
export async function installPackages(names: readonly string[], context: ApplyContext): Promise<void> {
  const install = ["install", "--yes", "--no-install-recommends", "--", ...names];
  let installed = await aptGet(install, context);
  if (installed.status !== 0 && wasInterrupted(output(installed))) {
    context.progress("  an earlier installation was interrupted: dpkg --configure --pending");
    const configure = ["--configure", "--pending", "--force-confdef", "--force-confold"];
    const configured = await run("dpkg", configure, { env: ENVIRONMENT });
    if (configured.status !== 0) throw new CommandFailed("dpkg", configure, configured);
    installed = await aptGet(install, context);
  }
  if (installed.status !== 0 && listsAreStale(output(installed))) {
    context.progress("  the package lists are old: apt-get update");
    const updated = await aptGet(["-o", "APT::Update::Error-Mode=any", "update"], context);
    if (updated.status !== 0) throw new PackagesUnreachable("apt-get update", updated);
    installed = await aptGet(install, context);
  }
  if (installed.status === 0) return;
  if (/Failed to fetch|Unable to fetch|Temporary failure resolving/.test(output(installed))) {
    throw new PackagesUnreachable("apt-get install", installed);
  }
  throw new CommandFailed("apt-get", install, installed);
}

const output = ({ stdout, stderr }: Ran): string => stdout + stderr;
