/**
 * One real host for one test file: a container of the lab hosts' image with systemd and loop devices as disks, bootstrapped
 * for the host program. Everything is named after this run and taken down by its own name.
 */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, readlink, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { bundleHostProgram } from "../../scripts/host/build.ts";
import type { StageDocument } from "../../scripts/host/contract.ts";
import { harvestPackages, seedPackages } from "../../scripts/setup/apt-cache.mjs";
import { hostImage } from "../../scripts/setup/image.mjs";
import { renderBootstrap } from "../../templates/bootstrap.ts";
import { runInside } from "./inside.ts";

const execute = promisify(execFile);
/** Names the process that a container belongs to, so that the next run can remove what a killed one left. */
const OWNER = "twofold.test-owner";
const BOOT_DEADLINE_MS = 30_000;

export interface Ended {
  status: number;
  stdout: string;
  stderr: string;
}

/** Runs a program on this machine, or throws what it said. */
async function must(program: string, ...args: string[]): Promise<string> {
  return (await execute(program, args)).stdout.trim();
}

/** A process, told apart from a later one with the same number: PID namespace, number, start time (proc_pid_stat(5)). */
async function ownerOf(pid: number | string): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  const started = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  return `${await readlink("/proc/self/ns/pid")}/${pid}/${started}`;
}

/** Hosts whose test process was killed before it could take them down; those of other PID namespaces can't be judged. */
async function removeOrphans(): Promise<void> {
  const format = `{{.Names}}\t{{.Label "${OWNER}"}}\t{{.Label "twofold.test-directory"}}`;
  const listed = await must("docker", "ps", "--all", "--filter", `label=${OWNER}`, "--format", format);
  for (const line of listed.split("\n")) {
    const [container = "", owner = "", directory = ""] = line.split("\t");
    const [namespace, pid = ""] = owner.split("/");
    if (namespace !== (await readlink("/proc/self/ns/pid")) || owner === (await ownerOf(pid))) continue;
    await takeDown(container, directory);
  }
}

/** A container, the loops over its files, and the files. */
async function takeDown(container: string, directory: string): Promise<void> {
  await execute("docker", ["rm", "--force", "--volumes", container]).catch(() => {});
  const loops = await must("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE");
  for (const line of loops.split("\n")) {
    const [loop = "", file = ""] = line.trim().split(/\s+/);
    if (file.startsWith(`${directory}/`)) await execute("losetup", ["--detach", loop]).catch(() => {});
  }
  await rm(directory, { recursive: true, force: true });
}

export class TestHost {
  readonly container: string;
  /** Stable names of the disks inside the host. */
  readonly disks: string[] = [];
  readonly #directory: string;
  #sha256 = "";

  private constructor(container: string, directory: string) {
    this.container = container;
    this.#directory = directory;
  }

  /** A booted host with the host program on it. @param options.diskBytes Size of each disk. @default 1 GiB */
  static async start(options: { disks: number; diskBytes?: number }): Promise<TestHost> {
    const image = await hostImage();
    await removeOrphans();
    const container = `twofold-test-${process.pid}-${randomBytes(3).toString("hex")}`;
    const directory = await mkdtemp(join(tmpdir(), `${container}-`));
    const loops: string[] = [];
    const host = new TestHost(container, directory);
    try {
      for (let index = 0; index < options.disks; index++) {
        const file = join(directory, `disk-${index}.img`);
        await writeFile(file, "");
        await truncate(file, options.diskBytes ?? 2 ** 30);
        loops.push(await must("losetup", "--find", "--show", file));
        host.disks.push(`/dev/disk/by-id/test-${index}`);
      }
      const keys = join(directory, "keys");
      await must("mkdir", keys);
      await must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", join(keys, "ssh_host_ed25519_key"));
      await writeFile(join(keys, "authorized_keys"), "");
      const packages = join(directory, "packages");
      seedPackages(packages);
      await must(
        "docker",
        ...["run", "--detach", "--name", container, "--hostname", "alice", "--cgroupns", "private"],
        ...["--label", `${OWNER}=${await ownerOf(process.pid)}`, "--label", `twofold.test-directory=${directory}`],
        ...["MKNOD", "NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"].flatMap((each) => ["--cap-add", each]),
        ...["--security-opt", "apparmor=unconfined", "--security-opt", "seccomp=unconfined"],
        ...["--tmpfs", "/run", "--tmpfs", "/tmp", "--stop-signal", "SIGRTMIN+3"],
        ...["--volume", `${keys}:/usr/local/etc/lab-keys:ro`, "--volume", `${packages}:/var/cache/apt/archives`],
        ...[...loops, "/dev/btrfs-control", "/dev/fuse"].flatMap((each) => ["--device", each]),
        ...[image, "/usr/local/sbin/lab-start", ...loops.map((loop, index) => `test-${index}=${loop}`)],
      );
      await host.#awaitBoot();
      await host.#install();
      return host;
    } catch (error) {
      await host.stop();
      throw error;
    }
  }

  async #awaitBoot(): Promise<void> {
    const deadline = Date.now() + BOOT_DEADLINE_MS;
    for (;;) {
      const { stdout } = await this.exec(["systemctl", "is-system-running"]);
      if (["running", "degraded"].includes(stdout.trim())) return;
      if (Date.now() > deadline) throw new Error(`${this.container} did not boot: ${stdout}`);
      await delay(100);
    }
  }

  async #install(): Promise<void> {
    const booted = await this.exec(["sh", "-s", "--", this.container], renderBootstrap());
    if (booted.status !== 0) throw new Error(`bootstrap ended with ${booted.status}: ${booted.stdout}${booted.stderr}`);
    const { file, sha256 } = await bundleHostProgram();
    const target = `/usr/local/lib/twofold/host-${sha256}.mjs`;
    await must("docker", "cp", file, `${this.container}:${target}`);
    await this.must("chown", "root:root", target);
    this.#sha256 = sha256;
  }

  /** Runs a program in the host. */
  async exec(command: string[], input = ""): Promise<Ended> {
    const { status, stdout, stderr } = await runInside(this.container, command, input);
    return { status: status ?? -1, stdout, stderr };
  }

  /** Runs a program in the host that has to succeed, and returns its trimmed stdout. */
  async must(...command: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.exec(command);
    if (status !== 0) throw new Error(`'${command.join(" ")}' ended with ${status}: ${stdout}${stderr}`);
    return stdout.trim();
  }

  /** Runs a command of the host program. */
  program(words: string[], input: unknown = ""): Promise<Ended> {
    const text = typeof input === "string" ? input : JSON.stringify(input);
    return this.exec(["/usr/local/lib/twofold/run", this.#sha256, ...words], text);
  }

  /** Applies a document that has to be applied, and returns the items that were changed. */
  async apply(document: StageDocument): Promise<string[]> {
    const { status, stdout, stderr } = await this.program(["apply", document.stage, "machine"], document);
    if (status !== 0) throw new Error(`apply ${document.stage} ended with ${status}: ${stdout}${stderr}`);
    return (JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as { changed: string[] }).changed;
  }

  /** What `check` says: items that drifted. */
  async drift(...documents: StageDocument[]): Promise<string[]> {
    const { stdout, stderr } = await this.program(["check"], documents);
    if (stdout === "") throw new Error(`check said nothing: ${stderr}`);
    return (JSON.parse(stdout) as { drift: { item: string }[] }).drift.map(({ item }) => item);
  }

  /** Reboots: the container is stopped and started, as a machine would. */
  async reboot(): Promise<void> {
    await must("docker", "restart", "--time", "20", this.container);
    await this.#awaitBoot();
  }

  /**
   * Everything whose change would be a change of the host, one line a file: inode, times, owner, mode. Contents need not be
   * read: ctime tells of their change and can't be set back.
   */
  async fingerprint(...paths: string[]): Promise<string> {
    const all = ["/etc", "/usr/local/lib/twofold", "/var/lib/twofold", "/var/lib/dpkg/status", ...paths];
    // A path that isn't there is said on stderr, which is part of the fingerprint.
    const { stdout, stderr } = await this.exec(["find", ...all, "-printf", "%p %i %T@ %C@ %U:%G %m\\n"]);
    // Docker keeps these three.
    const lines = `${stdout}${stderr}`.split("\n");
    return lines
      .filter((line) => !/^\/etc\/(resolv\.conf|hosts|hostname) /.test(line))
      .sort()
      .join("\n");
  }

  /** Lines of the fingerprint that are not what they were; empty if nothing was changed. */
  async changesSince(before: string, ...paths: string[]): Promise<string[]> {
    const [was, is] = [new Set(before.split("\n")), new Set((await this.fingerprint(...paths)).split("\n"))];
    return [...was].filter((line) => !is.has(line)).concat([...is].filter((line) => !was.has(line)));
  }

  /** Takes down exactly what this host took. */
  async stop(): Promise<void> {
    harvestPackages(join(this.#directory, "packages"), console.error);
    await takeDown(this.container, this.#directory);
  }
}
