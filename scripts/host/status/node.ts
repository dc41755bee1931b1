/** What lightningd's unit and lightningd itself say. */
import { LIGHTNINGD, type LightningdDocument } from "../contract.ts";
import { readUnitState } from "../lightningd/unit.ts";
import { run } from "../process.ts";

export interface NodeStatus {
  name: string;
  network: string;
  unit: { active: string; sub: string; since: string | undefined; restarts: number; lastStatus: number };
  /** lightningd's own answer, undefined while it gives none. */
  info: NodeInfo | undefined;
}

/** The part of `getinfo` that an operator looks at first (lightning-getinfo(7)). */
export interface NodeInfo {
  id: string;
  alias: string;
  version: string;
  blockheight: number;
  peers: number;
  activeChannels: number;
}

/** Seconds for an answer; lightningd answers within milliseconds once it is up. */
const ANSWER_SECONDS = 5;

export async function readNode(document: LightningdDocument): Promise<NodeStatus> {
  const [{ active, sub, since, restarts, lastStatus }, info] = await Promise.all([readUnitState(), readInfo()]);
  return { name: document.node, network: document.network, unit: { active, sub, since, restarts, lastStatus }, info };
}

async function readInfo(): Promise<NodeInfo | undefined> {
  const cli = [`${LIGHTNINGD.programs}/lightning-cli`, `--conf=${LIGHTNINGD.config}`, "getinfo"];
  const { status, stdout } = await run("timeout", ["--kill-after=1", String(ANSWER_SECONDS), ...cli]);
  return status === 0 ? parseInfo(stdout) : undefined;
}

/** Output of `lightning-cli getinfo`; undefined if it is none. Pure. */
export function parseInfo(text: string): NodeInfo | undefined {
  let info: Record<string, unknown>;
  try {
    info = JSON.parse(text) as Record<string, unknown>;
  } catch {
    return undefined;
  }
  const word = (key: string) => (typeof info[key] === "string" ? info[key] : "");
  const count = (key: string) => (typeof info[key] === "number" ? info[key] : 0);
  if (word("id") === "") {
    return undefined;
  }
  return {
    id: word("id"),
    alias: word("alias"),
    version: word("version"),
    blockheight: count("blockheight"),
    peers: count("num_peers"),
    activeChannels: count("num_active_channels"),
  };
}
