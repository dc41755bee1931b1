/** What the survival table has to know of a topology. */
import type { JournalMode } from "../../../scripts/host/contract.ts";
import { journalMode, replicaHost, replicaOf, witnessHosts } from "../places.ts";
import type { Topology, VolumeSpec } from "../schema.ts";
import type { Patience } from "./words.ts";

export interface Situation {
  /** Names the topology's kind in proofs: what was proved for one kind says nothing of another. */
  setup: string;
  patience: Patience;
  /** Disks of the node's volume that may die at once. */
  spareDisks: number;
  mode: JournalMode;
  /** How the replica is written, if there is one. */
  via: "local" | "sshfs" | "nfs" | undefined;
  /** Disks of the replica's volume that may die at once. */
  spareReplicaDisks: number;
  /** The replica is on another host. */
  remote: boolean;
  /** The replica is at another declared site than the node. */
  remoteSite: boolean;
  /** The off-host copy of hsm_secret was confirmed. */
  secretIsSafe: boolean;
  /** Another host, or another site, keeps emergency.recover. */
  recoverElsewhere: boolean;
  recoverAtOtherSite: boolean;
  /** Another host keeps the mark. */
  witnessElsewhere: boolean;
}

export function situationOf(topology: Topology): Situation {
  const { node, hosts } = topology;
  const replica = replicaOf(topology);
  const target = replicaHost(topology);
  const remote = target !== undefined && target !== node.host;
  const channelBackups = node.copies.flatMap((copy) =>
    copy.kind === "channel-backup" && copy.to !== node.host ? [copy.to] : [],
  );
  return {
    setup: setupOf(topology),
    patience: patienceOf(topology),
    spareDisks: spareDisks(node.volume),
    mode: journalMode(topology),
    via: replica?.via,
    spareReplicaDisks: spareDisks(target === undefined ? undefined : hosts[target]?.volume),
    remote,
    remoteSite: remote && otherSite(topology, node.host, target),
    secretIsSafe: node.copies.some((copy) => copy.kind === "hsm-secret" && copy.confirmed !== "not-yet"),
    recoverElsewhere: channelBackups.length > 0,
    recoverAtOtherSite: channelBackups.some((host) => otherSite(topology, node.host, host)),
    witnessElsewhere: witnessHosts(topology).some((host) => host !== node.host),
  };
}

/** "raid1, sshfs, delete": profile of the node's volume, the replica's way, the journal mode; or "postgres 3+1". */
export function setupOf(topology: Topology): string {
  const { wallet, volume } = topology.node;
  if (wallet.kind === "postgres") return `postgres ${wallet.members.length}+${wallet.synchronousStandbys}`;
  return [volume.profile, ...(wallet.replica ? [wallet.replica.via] : []), journalMode(topology)].join(", ");
}

/** Only declared sites are known to be apart. */
export function otherSite({ hosts }: Topology, one: string, other: string): boolean {
  const [a, b] = [hosts[one]?.site, hosts[other]?.site];
  return a !== undefined && b !== undefined && a !== b;
}

/** Devices that may die at once (btrfs(5), "PROFILES"); raid10 survives a second one only with luck, which doesn't count. */
function spareDisks(volume: VolumeSpec | undefined): number {
  switch (volume?.profile) {
    case "raid1":
    case "raid10":
      return 1;
    case "raid1c3":
      return 2;
    case "raid1c4":
      return 3;
    default:
      return 0;
  }
}

/** Core Lightning's defaults of cltv-delta and watchtime-blocks (lightningd/options.c, v26.06): bitcoin's, and all others'. */
const DEFAULTS = { bitcoin: { cltvDelta: 34, watchtime: 144 }, other: { cltvDelta: 6, watchtime: 6 } };
const MINUTES_PER_BLOCK = 10;

/**
 * Blocks for which a stopped node is safe. After cltv-delta a forwarded payment can be taken by the next peer and refused to us by
 * the one before; after watchtime-blocks a peer who published a revoked state keeps the money.
 */
function patienceOf({ node: { network, options } }: Topology): Patience {
  const defaults = network === "bitcoin" ? DEFAULTS.bitcoin : DEFAULTS.other;
  const blocks = Math.min(
    wholeNumber(options["cltv-delta"]) ?? defaults.cltvDelta,
    wholeNumber(options["watchtime-blocks"]) ?? defaults.watchtime,
  );
  const minutes = blocks * MINUTES_PER_BLOCK;
  const time = minutes % 60 === 0 ? `${minutes / 60} h` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return { blocks, time: network === "regtest" ? undefined : time };
}

function wholeNumber(value: unknown): number | undefined {
  const number = Number(value);
  return (typeof value === "string" || typeof value === "number") && Number.isInteger(number) ? number : undefined;
}
