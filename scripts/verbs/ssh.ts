/**
 * One SSH connection to one host, through the system's ssh: the operator's agent, jump hosts and ~/.ssh/config work.
 * The pinned host key is the only one that is accepted.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { operatorPath } from "../../components/topology/operator-path.ts";
import type { HostSpec } from "../../components/topology/schema.ts";
import { stateDirectory } from "./directories.ts";
import { Failure } from "./failure.ts";

/** A host of the topology with its name there. */
export interface Host {
  name: string;
  spec: HostSpec;
}

export interface RemoteResult {
  status: number;
  stdout: string;
  stderr: string;
}

export interface RemoteOptions {
  /** Text for the command's standard input. */
  input?: string | Buffer;
  /** Called with each line of the command's output and of its standard error as it comes. */
  onLine?: (line: string, stream: "stdout" | "stderr") => void;
}

/** Seconds until a host that does not answer is given up. */
const CONNECT_TIMEOUT_SECONDS = 10;
/** A connection on which nothing comes back for 3 × 15 s is dead; the work on the host goes on. */
const ALIVE_INTERVAL_SECONDS = 15;

/** ssh's own exit status for a connection that failed (ssh(1), EXIT STATUS). */
const SSH_FAILED = 255;

/**
 * Runs `command`, a command line for the host's shell, and collects its output.
 *
 * @throws {Failure} if the host can't be reached or is not the one that was pinned.
 */
export async function runOnHost(host: Host, command: string, options: RemoteOptions = {}): Promise<RemoteResult> {
  const child = spawn("ssh", [...sshOptions(host), "-o", "BatchMode=yes", "-T", destination(host), command], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  const collect = (stream: "stdout" | "stderr") => {
    const lines: string[] = [];
    const reader = createInterface({ input: child[stream] });
    reader.on("line", (line) => {
      lines.push(line);
      options.onLine?.(line, stream);
    });
    return new Promise<string>((resolve) => reader.once("close", () => resolve(lines.join("\n"))));
  };
  const output = Promise.all([collect("stdout"), collect("stderr")]);
  // A host that hangs up early closes the pipe; its exit status says why.
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");

  const status = await new Promise<number>((resolve, reject) => {
    child.once("error", (error) => reject(noSsh(error)));
    child.once("close", (code) => resolve(code ?? SSH_FAILED));
  });
  const [stdout, stderr] = await output;
  if (status === SSH_FAILED) {
    throw explainFailure(host, stderr);
  }
  return { status, stdout, stderr };
}

/** A word as the host's POSIX shell has to read it to get it back as it is: ssh(1) has no other way to pass arguments. */
export function quoteWord(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** Hands the terminal to ssh: a shell on the host, or a command. Returns the exit status. */
export async function interactiveSsh(host: Host, command: string[]): Promise<number> {
  const terminal = command.length === 0 ? [] : process.stdin.isTTY && process.stdout.isTTY ? ["-t"] : ["-T"];
  const child = spawn("ssh", [...sshOptions(host), ...terminal, destination(host), ...command], { stdio: "inherit" });
  return new Promise((resolve, reject) => {
    child.once("error", (error) => reject(noSsh(error)));
    child.once("close", (code) => resolve(code ?? SSH_FAILED));
  });
}

function destination(host: Host): string {
  return `${host.spec.user}@${host.spec.address}`;
}

/** Options for ssh(1) that reach the host and nothing else under its name. */
export function sshOptions(host: Host): string[] {
  const { spec } = host;
  const identity =
    spec.identityFile === undefined ? [] : ["-i", operatorPath(spec.identityFile), "-o", "IdentitiesOnly=yes"];
  return [
    "-p",
    String(spec.port),
    ...identity,
    ...["-o", "StrictHostKeyChecking=yes"],
    ...["-o", `UserKnownHostsFile="${knownHostsFile(host)}"`],
    ...["-o", "GlobalKnownHostsFile=/dev/null"],
    // The file has one line under this name, whatever address and port the host has.
    ...["-o", `HostKeyAlias=${host.name}`],
    ...["-o", `ConnectTimeout=${CONNECT_TIMEOUT_SECONDS}`],
    ...["-o", `ServerAliveInterval=${ALIVE_INTERVAL_SECONDS}`],
    ...["-o", "LogLevel=ERROR"],
  ];
}

/** A known_hosts file with just the pinned key, named by its content, so that stacks don't disturb one another. */
function knownHostsFile(host: Host): string {
  const line = `${host.name} ${host.spec.hostKey}\n`;
  const directory = join(stateDirectory(), "known_hosts");
  const file = join(directory, createHash("sha256").update(line).digest("hex"));
  if (read(file) !== line) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const temporary = `${file}.${process.pid}`;
    writeFileSync(temporary, line, { mode: 0o600 });
    renameSync(temporary, file);
  }
  return file;
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

function noSsh(error: Error): Failure {
  return new Failure({
    code: "ssh/missing",
    what: "the program ssh could not be started",
    received: error.message,
    why: "the verbs reach the hosts through it",
    fix: "install OpenSSH's client (Debian: apt-get install openssh-client)",
  });
}

/** What ssh's own message means for the operator. Pure. */
export function explainFailure(host: Host, stderr: string): Failure {
  const { name, spec } = host;
  const at = `${spec.user}@${spec.address}, port ${spec.port}`;
  const received = stderr.trim().split("\n").slice(-3).join(" / ") || "ssh ended without a word";
  if (/host key verification failed|identification has changed|no matching host key/i.test(stderr)) {
    return new Failure({
      code: "ssh/host-key",
      what: `the machine at ${at} is not the one that was pinned as host ${name}`,
      received,
      why: "it is another machine, or somebody sits in between",
      fix: `if ${name} was rebuilt, read its key at its own console (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub) and put it into twofold:hosts.${name}.hostKey`,
    });
  }
  if (/no such identity|invalid format|bad permissions|unprotected private key/i.test(stderr)) {
    return new Failure({
      code: "ssh/identity-file",
      what: `the private key for host ${name} can't be used`,
      received,
      why: "every verb works through SSH as root, with a key",
      fix: `check twofold:hosts.${name}.identityFile: it must be readable, and by you alone (chmod 600)`,
    });
  }
  if (/permission denied/i.test(stderr)) {
    return new Failure({
      code: "ssh/login",
      what: `host ${name} does not let us log in (${at})`,
      received,
      why: "every verb works through SSH as root, with a key",
      fix: `add the public key to ${spec.user}'s authorized_keys on ${name}; check twofold:hosts.${name}.identityFile or the SSH agent (ssh-add -l)`,
    });
  }
  return new Failure({
    code: "ssh/unreachable",
    what: `host ${name} can't be reached (${at})`,
    received,
    why: "nothing can be said about it, and nothing was changed on it",
    fix: `check that it is up and that this machine reaches it: ssh -p ${spec.port} ${spec.user}@${spec.address}`,
  });
}
