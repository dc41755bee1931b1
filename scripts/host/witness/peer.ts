/** Asking another host, through an account there that can run nothing but `witness-serve` for this one node. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PeerAccess } from "../contract.ts";
import { run } from "../process.ts";

/** What the other host can be asked; see commands/witness-serve.ts. */
export type PeerRequest = "read" | "advance" | "peek";

/** The other host does not answer, or its answer is none: transient as far as this host can tell. */
export class PeerUnreachable extends Error {}
/** The other host answered that it will not. */
export class PeerRefused extends Error {}

/** Seconds until a host that does not answer counts as unreachable. */
const CONNECT_SECONDS = 5;

/**
 * Sends `input` as JSON and returns the answer's JSON. A silent peer is given up after {@link CONNECT_SECONDS} to connect and 15 s without
 * a sign of life afterwards; a long check on the other side is not cut off.
 * @throws {PeerUnreachable} {@link PeerRefused}
 */
export async function askPeer(access: PeerAccess, request: PeerRequest, input: unknown): Promise<unknown> {
  const directory = await mkdtemp(join(tmpdir(), "twofold-peer-"));
  try {
    const knownHosts = join(directory, "known_hosts");
    await writeFile(knownHosts, `${knownHostsName(access)} ${access.hostKey}\n`);
    const ran = await run("ssh", [...sshOptions(access, knownHosts), access.address, request], {
      input: JSON.stringify(input),
    });
    return parseAnswer(access, ran);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The address as known_hosts names it (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"). */
export const knownHostsName = ({ address, port }: Pick<PeerAccess, "address" | "port">) =>
  port === 22 ? address : `[${address}]:${port}`;

function sshOptions(access: PeerAccess, knownHosts: string): string[] {
  const options = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    `UserKnownHostsFile=${knownHosts}`,
    "GlobalKnownHostsFile=/dev/null",
    "IdentitiesOnly=yes",
    `ConnectTimeout=${CONNECT_SECONDS}`,
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "LogLevel=ERROR",
  ].flatMap((option) => ["-o", option]);
  return ["-F", "none", "-T", ...options, "-i", access.identityFile, "-p", `${access.port}`, "-l", access.user];
}

function parseAnswer(access: PeerAccess, ran: { status: number; stdout: string; stderr: string }): unknown {
  const said = ran.stderr.trim().split("\n").slice(-3).join(" ") || `ssh ended with status ${ran.status}`;
  // 255 is ssh's own failure (ssh(1), "EXIT STATUS").
  if (ran.status === 255 || ran.status === 127)
    throw new PeerUnreachable(`${access.host} (${access.address}): ${said}`);
  if (ran.status !== 0) throw new PeerRefused(`${access.host} says: ${said}`);
  try {
    return JSON.parse(ran.stdout);
  } catch {
    throw new PeerUnreachable(`${access.host} answered no JSON: ${ran.stdout.slice(0, 80)}`);
  }
}
