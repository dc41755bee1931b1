/**
 * Cuts and slows links between two hosts, with nftables in the network namespace of one of them: both ways, or one way only. The other hosts
 * and the operator's SSH are not touched. Rules end with the host's power.
 *
 * netem, which delays packets, is not in every kernel; a link is made slow by dropping what is above a rate, so TCP backs off.
 */
import type { Machine } from "./machine.ts";

/** By its path: npm puts another program of this name first on the tests' PATH. */
const NFT = "/usr/sbin/nft";
const TABLE = "inet twofold_fault";
/** Seconds after which a connection that gets no answer counts as cut; on a local network an answer takes a millisecond. */
const CONNECT_SECONDS = 1;

export type Direction = "both" | "in" | "out";

/** No packet passes between `host` and `peer`. "in": none from peer to host; "out": none from host to peer. */
export async function cutLink(host: Machine, peer: Machine, direction: Direction = "both"): Promise<void> {
  await addRules(host, peer, direction, ["counter drop"]);
  if (await connects(host, peer))
    throw new Error(`the link from ${host.name} to ${peer.name} is not cut: port 22 answers`);
  if ((await droppedPackets(host)) === 0)
    throw new Error(`the link from ${host.name} to ${peer.name} is not cut: its rules have dropped no packet`);
}

/** No packet of connections to these ports of either side passes between `host` and `peer`; all others do. */
export async function cutPorts(host: Machine, peer: Machine, ports: number[]): Promise<void> {
  const set = `{ ${ports.join(", ")} }`;
  await addRules(host, peer, "both", [`tcp dport ${set} counter drop`, `tcp sport ${set} counter drop`]);
  for (const port of ports)
    if (await connects(host, peer, port))
      throw new Error(`the link from ${host.name} to ${peer.name} is not cut: port ${port} answers`);
  if (!(await connects(host, peer)))
    throw new Error(`the link from ${host.name} to ${peer.name} is cut as a whole: port 22 does not answer`);
  if ((await droppedPackets(host)) === 0)
    throw new Error(`the link from ${host.name} to ${peer.name} is not cut: its rules have dropped no packet`);
}

/** Drops what is above `bytesPerSecond`, each way. */
export async function slowLink(host: Machine, peer: Machine, bytesPerSecond: number): Promise<void> {
  const limit = `limit rate over ${bytesPerSecond} bytes/second burst 1500 bytes counter drop`;
  await addRules(host, peer, "both", [limit]);
}

/** Takes every rule of this module off the host. */
export async function healLinks(host: Machine): Promise<void> {
  await host.inNetwork(NFT, `delete table ${TABLE}`);
}

/** Packets that the rules on `host` have dropped so far. */
export async function droppedPackets(host: Machine): Promise<number> {
  const listing = await host.inNetwork(NFT, "list", "table", ...TABLE.split(" "));
  return [...listing.matchAll(/counter packets (\d+)/g)].reduce((sum, [, packets]) => sum + Number(packets), 0);
}

async function addRules(host: Machine, peer: Machine, direction: Direction, verdicts: string[]): Promise<void> {
  const address = await peer.address();
  const rules = [
    `add table ${TABLE}`,
    `add chain ${TABLE} in { type filter hook input priority -300; }`,
    `add chain ${TABLE} out { type filter hook output priority -300; }`,
    ...verdicts.flatMap((verdict) => [
      ...(direction === "out" ? [] : [`add rule ${TABLE} in ip saddr ${address} ${verdict}`]),
      ...(direction === "in" ? [] : [`add rule ${TABLE} out ip daddr ${address} ${verdict}`]),
    ]),
  ];
  // Not through stdin: nft opens it by name, which a socket does not allow, and takes it for empty.
  await host.inNetwork(NFT, rules.join("; "));
}

/** Whether a new TCP connection from `host` to a port of `peer`, sshd's by default, comes about. */
export async function connects(host: Machine, peer: Machine, port = 22): Promise<boolean> {
  const program = `const s = require("node:net").connect(Number(process.argv[2]), process.argv[1]);
    s.setTimeout(${CONNECT_SECONDS * 1000}, () => process.exit(1)).on("error", () => process.exit(1)).on("connect", () => process.exit(0));`;
  const ran = await host.tryInNetwork(process.execPath, "--eval", program, await peer.address(), `${port}`);
  return ran.status === 0;
}
