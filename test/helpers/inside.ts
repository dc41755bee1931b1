/**
 * Runs programs inside a running container as `docker exec` does: in its namespaces and cgroups, with its capabilities.
 *
 * Tests ask a host several times a second. The engine takes about 60 ms of this machine for each of those, and nsenter(1) 3.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Ran, runProgram } from "./run-program.ts";
import { scratchDirectory } from "./scratch.ts";

/** What the engine gives to a program of an image that names no environment. */
const ENVIRONMENT = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME: "/root" };
/** Arguments: the cgroups' cgroup.procs, "--", a command line. */
const IN_CGROUPS = 'while [ "$1" != -- ]; do echo $$ >"$1"; shift; done; shift; exec "$@"';

/** A container's first process, told from a later one of the same number. */
interface First {
  pid: number;
  started: string;
}

const firsts = new Map<string, First>();
/** Directory of the running programs' input and output. */
let files: string | undefined;
let runs = 0;

/**
 * @returns how it ended; where the container doesn't run or is frozen, status 1 and the reason on stderr, as `docker exec` says it
 */
export async function runInside(container: string, words: string[], input = ""): Promise<Ran> {
  const command = `in ${container}: ${words.join(" ")}`;
  const refused = (reason: string): Ran => ({ command, status: 1, stdout: "", stderr: `${container} ${reason}\n` });
  const pid = await firstOf(container);
  if (pid === undefined) return refused("is not running");
  const cgroups = cgroupsOf(pid);
  if (cgroups === undefined) return refused("ended just now");
  // Whoever joins a frozen cgroup is frozen too.
  if (cgroups.some(isFrozen)) return refused("is frozen");
  const line = [
    ...["-euc", IN_CGROUPS, "sh", ...cgroups.map((directory) => join(directory, "cgroup.procs")), "--"],
    ...["setpriv", `--bounding-set=${capabilitiesOf(pid)}`, "--inh-caps=-all"],
    ...["nsenter", "--target", `${pid}`, "--all", "--", ...words],
  ];
  return { command, ...(await untilItsExit("sh", line, input)) };
}

/**
 * Runs a program until it has ended, whatever it has started in the background. Those keep its output open, so that the end of a pipe would
 * be waited for as long as they live; what a file holds at the exit is what was printed until then.
 */
async function untilItsExit(program: string, words: string[], input: string): Promise<Omit<Ran, "command">> {
  files ??= scratchDirectory();
  const place = join(files, `${++runs}`);
  // Not Node's own pipe for the input either: it is a socket, which cannot be opened again as /dev/stdin.
  writeFileSync(`${place}.in`, input);
  const streams = [openSync(`${place}.in`, "r"), openSync(`${place}.out`, "w"), openSync(`${place}.err`, "w")];
  try {
    const child = spawn(program, words, { env: ENVIRONMENT, stdio: streams });
    const [status] = (await once(child, "exit")) as [number | null];
    return { status, stdout: readFileSync(`${place}.out`, "utf8"), stderr: readFileSync(`${place}.err`, "utf8") };
  } finally {
    for (const stream of streams) closeSync(stream);
    for (const name of ["in", "out", "err"]) rmSync(`${place}.${name}`);
  }
}

async function firstOf(container: string): Promise<number | undefined> {
  const known = firsts.get(container);
  if (known !== undefined && startOf(known.pid) === known.started) return known.pid;
  firsts.delete(container);
  const inspected = await runProgram("docker", ["inspect", "--type=container", "--format={{.State.Pid}}", container]);
  // There is no such container, or it has no process.
  const pid = inspected.status === 0 ? Number(inspected.stdout) : 0;
  if (pid === 0) return undefined;
  const started = startOf(pid);
  if (started === undefined) return undefined;
  firsts.set(container, { pid, started });
  return pid;
}

/** When a process started, in ticks (proc_pid_stat(5), field 22). */
function startOf(pid: number): string | undefined {
  const stat = readIfThere(`/proc/${pid}/stat`);
  // The name in parentheses may have spaces.
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}

/** Directories of a process's cgroups, of whichever hierarchies this machine has mounted. */
function cgroupsOf(pid: number): string[] | undefined {
  const memberships = readIfThere(`/proc/${pid}/cgroup`);
  if (memberships === undefined) return undefined;
  const mounted = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => /^\d+ \d+ \S+ \S+ (\S+) .*- (cgroup2?) \S+ (\S+)$/.exec(line))
    .flatMap((found) => (found === null ? [] : [{ at: found[1] ?? "", type: found[2], options: found[3] ?? "" }]));
  return memberships
    .trim()
    .split("\n")
    .flatMap((line) => {
      const [, controllers = "", path = ""] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
      const mount = mounted.find(({ type, options }) =>
        controllers === ""
          ? type === "cgroup2"
          : type === "cgroup" && controllers.split(",").every((each) => options.split(",").includes(each)),
      );
      return mount === undefined ? [] : [join(mount.at, path)];
    });
}

function isFrozen(cgroup: string): boolean {
  return (
    (readIfThere(join(cgroup, "freezer.state")) ?? "THAWED").trim() !== "THAWED" ||
    /^frozen 1$/m.test(readIfThere(join(cgroup, "cgroup.events")) ?? "")
  );
}

/** As setpriv(1) takes the bounding set of a process. */
function capabilitiesOf(pid: number): string {
  const mask = BigInt(`0x${/^CapBnd:\s+([0-9a-f]+)$/m.exec(readIfThere(`/proc/${pid}/status`) ?? "")?.[1] ?? "0"}`);
  const kept = Array.from({ length: 64 }, (_, bit) => bit).filter((bit) => (mask >> BigInt(bit)) & 1n);
  return ["-all", ...kept.map((bit) => `+cap_${bit}`)].join(",");
}

function readIfThere(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    // The process ended meanwhile.
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}
