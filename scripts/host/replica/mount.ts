/** The mount of a replica on another host. */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { REPLICA_MOUNT_TYPES, REPLICA_SSH_CONFIG, REPLICA_UNIT } from "../../../templates/replica.ts";
import { LIGHTNINGD, type ReplicaDocument } from "../contract.ts";
import { startLightningd, stopLightningd } from "../lightningd/service.ts";
import { isUp, readUnitState } from "../lightningd/unit.ts";
import { must, type Ran, run } from "../process.ts";
import { mountAt, readMounts, readUnits } from "../read.ts";
import type { ApplyContext } from "../stage.ts";

/** Set by lightningd.service (templates/lightningd.service). */
const VARIABLE = "TWOFOLD_REPLICA=";
const POLL_MS = 250;
/** ConnectTimeout of the connection is 10 s; a host that is just booting gets a few tries. */
const MOUNT_DEADLINE_MS = 60_000;
/** lightningd's TimeoutStopSec=10min, and time for systemd to kill what is left. */
const RELEASE_DEADLINE_MS = 11 * 60_000;

type Way = keyof typeof REPLICA_MOUNT_TYPES;
const wayOf = ({ via }: ReplicaDocument): Way => (via === "nfs" ? "nfs" : "sshfs");

async function isMounted(directory: string, way: Way): Promise<boolean> {
  return mountAt(await readMounts(), directory)?.type === REPLICA_MOUNT_TYPES[way];
}

/** What ssh and mount.nfs say when no further try can help. */
const FINAL = /Permission denied|Host key verification failed|access denied by server|fsync@openssh\.com/;

/** SSH_FXP_INIT of SFTP's version 3: length 5, type 1, version (draft-ietf-secsh-filexfer-02, "Protocol Initialization"). */
const SFTP_HELLO = Buffer.from([0, 0, 0, 5, 1, 0, 0, 0, 3]);
/** A server that takes the connection and says nothing. */
const HELLO_DEADLINE_MS = 15_000;

/** What is in the way of a mount over SFTP: ssh's words, or an SFTP server without fsync; undefined if nothing is. Pure. */
export function sftpFault({ status, stdout, stderr }: Ran): string | undefined {
  // The answer names the server's extensions in plain text.
  if (stdout.includes("fsync@openssh.com")) return undefined;
  if (stdout === "") return stderr.trim() || `its SFTP server did not answer, ssh ended with status ${status}`;
  return "its SFTP server does not offer fsync@openssh.com: sshfs would drop every fsync without a word, and a power cut there acknowledged commits";
}

/** Greets the replica's SFTP server, and stays until it has answered: one that is hung up on at once says nothing. */
function greetSftp(): Promise<Ran> {
  return new Promise((resolve) => {
    const child = spawn("ssh", ["-F", REPLICA_SSH_CONFIG, "-s", "replica", "sftp"], { timeout: HELLO_DEADLINE_MS });
    let answer = Buffer.alloc(0);
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => {
      answer = Buffer.concat([answer, chunk]);
      // A packet is its length and as many bytes.
      if (answer.length >= 4 && answer.length >= 4 + answer.readUInt32BE(0)) child.stdin.end();
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.on("error", (error) => resolve({ status: 127, stdout: "", stderr: error.message }));
    child.on("close", (code) => resolve({ status: code ?? 128, stdout: answer.toString("latin1"), stderr }));
    child.stdin.on("error", () => {});
    child.stdin.write(SFTP_HELLO);
  });
}

const probeSftp = async () => sftpFault(await greetSftp());

/** Before every mount over SFTP. A host that does not answer is sshfs's to find. @throws if the server drops fsync */
export async function requireFsync(): Promise<void> {
  const fault = await probeSftp();
  if (fault?.includes("fsync@openssh.com"))
    throw new Error(`the replica is not mounted: ${fault}\n  to do: ${CURES.sshfs}`);
}

/** What is in the way of the mount, in the words of the program that makes it; undefined if it says nothing. */
const PROBES: Record<Way, (since: Date) => Promise<string | undefined>> = {
  /** sshfs keeps to itself what ssh says. */
  sshfs: probeSftp,
  async nfs(since) {
    const seconds = Math.floor(since.getTime() / 1000);
    const args = ["--unit", REPLICA_UNIT, "--since", `@${seconds}`, "--output", "cat", "--no-pager", "--quiet"];
    const { stdout } = await run("journalctl", args);
    return stdout.split("\n").findLast((line) => line.startsWith("mount"));
  },
};

const CURES: Record<Way, string> = {
  sshfs:
    "see that the replica's host is up, that its host key is the declared one, and that it knows this host's key " +
    "(replica-key here, replica-authorize there; pulumi up does both), and that it serves SFTP by OpenSSH's internal-sftp, with no request " +
    "denied; then run this again",
  nfs:
    "see that the replica's host is up, that its volume is mounted, that TCP port 2049 is open to this host, and that this host " +
    "comes to it from its declared peerAddress ('exportfs -v' there names the one that is let in); then run this again",
};

/** Starts the mount's unit and waits for it. @throws with the words of ssh or mount.nfs if it doesn't come up */
export async function mountReplica(document: ReplicaDocument, context: ApplyContext): Promise<void> {
  const { directory } = document;
  const way = wayOf(document);
  const since = new Date();
  await run("systemctl", ["reset-failed", REPLICA_UNIT]);
  await must("systemctl", ["start", "--no-block", REPLICA_UNIT]);
  const deadline = Date.now() + MOUNT_DEADLINE_MS;
  let said: string | undefined;
  do {
    const unit = (await readUnits([REPLICA_UNIT])).get(REPLICA_UNIT);
    if (unit?.active === "active" && (await isMounted(directory, way))) {
      context.progress(`the replica is mounted at ${directory}`);
      return;
    }
    said = await PROBES[way](since);
    await delay(POLL_MS);
  } while (Date.now() < deadline && !FINAL.test(said ?? ""));
  throw new Error(
    `the replica was not mounted at ${directory}; systemd goes on trying\n` +
      `  received: ${said ?? `nothing is in the way, and ${REPLICA_UNIT} does not come up; see its journal`}\n` +
      "  why: lightningd does not start without its replica\n" +
      `  to do: ${CURES[way]}`,
  );
}

/**
 * Mounts anew with lightningd stopped, and starts it again if it ran. Nothing is done where the mount that began at `startedAt` is gone: a
 * later one has the new settings, and an owed remount may find the unit itself taken away.
 */
export async function remountReplica(
  document: ReplicaDocument,
  startedAt: number,
  context: ApplyContext,
): Promise<void> {
  const unit = (await readUnits([REPLICA_UNIT])).get(REPLICA_UNIT);
  if (unit?.active !== "active" || unit.startedAt !== startedAt) return;
  const running = isUp(await readUnitState());
  if (running) await stopLightningd(context);
  await must("systemctl", ["stop", REPLICA_UNIT]);
  await mountReplica(document, context);
  if (running) await startLightningd(context);
}

/** Takes the mount away for good, with lightningd stopped, whose config still names it. */
export async function unmountReplica(context: ApplyContext): Promise<void> {
  if (isUp(await readUnitState())) await stopLightningd(context);
  await must("systemctl", ["disable", "--quiet", "--now", REPLICA_UNIT]);
}

/**
 * True of a lightningd that writes to the replica at `directory`: it was started by a unit that declares it, and not in degraded
 * mode. The gate before it has another command line.
 * @param environment,commandLine of its process, as in /proc/PID
 */
export function writesReplica(directory: string, environment: string, commandLine: string): boolean {
  const replica = environment.split("\0").find((entry) => entry.startsWith(VARIABLE));
  if (replica === undefined || dirname(replica.slice(VARIABLE.length)) !== directory) return false;
  return commandLine.split("\0").includes(`--conf=${LIGHTNINGD.config}`);
}

/**
 * Before a mount: sees to it that no lightningd still holds an earlier one. Such a lightningd can't commit any more, but doesn't
 * know it before its next write, and must not then find parts of the replica on the old mount and parts on the new one.
 */
export async function awaitRelease(directory: string, say: (line: string) => void): Promise<void> {
  const holder = async () => {
    const { mainPid } = await readUnitState();
    if (mainPid === 0) return undefined;
    const read = (name: string) => readFile(`/proc/${mainPid}/${name}`, "utf8").catch(() => "");
    return writesReplica(directory, await read("environ"), await read("cmdline")) ? mainPid : undefined;
  };
  const first = await holder();
  if (first === undefined) return;
  say(
    `lightningd (process ${first}) still holds a mount of the replica that is gone: it is started anew, and its gate compares the copies`,
  );
  await must("systemctl", ["restart", "--no-block", LIGHTNINGD.unit]);
  const deadline = Date.now() + RELEASE_DEADLINE_MS;
  while (Date.now() < deadline) {
    if ((await holder()) !== first) return;
    await delay(POLL_MS);
  }
  throw new Error(
    `lightningd (process ${first}) did not end, so the replica can't be mounted under it; systemd tries again`,
  );
}
