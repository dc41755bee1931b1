/**
 * The rollback witness's high-water mark of `data_version`, and the rule by which it moves.
 *
 * A mark is a lower bound: "this node has acknowledged commit `dataVersion`". It may lag behind the wallet but never
 * runs ahead of it, so it never refuses what a crash can leave; see {@link sampledVersion}.
 */

export interface Mark {
  node: string;
  /** 66 hexadecimal digits, the node's public key. */
  nodeId: string;
  dataVersion: number;
  /** True if read from the closed wallet of a node that stopped cleanly. */
  exact: boolean;
  /** ISO 8601, by the clock of the node's host. Never compared: a clock that is wrong must not refuse a start. */
  at: string;
  /** What saw it, in words: "clean stop", "sample", "first start", "rebuild: REASON". */
  source: string;
  /** Of a wallet in PostgreSQL: the primary's timeline, which goes up with every failover. */
  timeline?: number;
}

/**
 * What may be recorded after reading `seen` from the main database of a running node.
 *
 * lightningd commits to main, then to the replica, then lets the caller go on. So a reader that sees `seen` in main can be
 * looking at a commit that the replica does not have yet and that nobody was told of; a power cut may take it back. Commit
 * `seen - 1` however was finished everywhere before `seen` was begun, and its rollback journal is gone for good: SQLite syncs the
 * directory when it makes the next one.
 */
export function sampledVersion(seen: number): number {
  return Math.max(0, seen - 1);
}

export type Advance = { accepted: true; changed: boolean } | { accepted: false; why: string };

/** Whether `next` may take the place of `current`. Pure; the mark never goes down and never changes its node. */
export function mayAdvance(current: Mark | undefined, next: Mark): Advance {
  if (current === undefined) return { accepted: true, changed: true };
  if (current.node !== next.node || current.nodeId !== next.nodeId)
    return {
      accepted: false,
      why: `the mark belongs to node ${current.node} (${current.nodeId}), not to ${next.node} (${next.nodeId})`,
    };
  // A sample is one below what was seen, so after a clean stop, and until the next commit, it is one below the mark.
  if (!next.exact && next.dataVersion === current.dataVersion - 1) return { accepted: true, changed: false };
  if (next.dataVersion < current.dataVersion)
    return {
      accepted: false,
      why: `data_version ${next.dataVersion} is lower than the recorded ${current.dataVersion}`,
    };
  if ((next.timeline ?? 0) < (current.timeline ?? 0))
    return { accepted: false, why: `timeline ${next.timeline} is older than the recorded ${current.timeline}` };
  const changed =
    next.dataVersion > current.dataVersion ||
    (next.timeline ?? 0) > (current.timeline ?? 0) ||
    (next.exact && !current.exact);
  return { accepted: true, changed };
}

/** Reads a mark from JSON text. Throws with the reason if it is not one. */
export function parseMark(text: string): Mark {
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null) throw new Error("not a JSON object");
  const { node, nodeId, dataVersion, exact, at, source, timeline } = value as Record<string, unknown>;
  if (typeof node !== "string" || !/^[a-z][a-z0-9-]{0,30}$/.test(node))
    throw new Error(`node is ${JSON.stringify(node)}`);
  if (typeof nodeId !== "string" || !/^0[23][0-9a-f]{64}$/.test(nodeId))
    throw new Error(`nodeId is ${JSON.stringify(nodeId)}, expected 66 hexadecimal digits`);
  if (typeof dataVersion !== "number" || !Number.isSafeInteger(dataVersion) || dataVersion < 0)
    throw new Error(`dataVersion is ${JSON.stringify(dataVersion)}, expected a whole number`);
  if (typeof exact !== "boolean") throw new Error(`exact is ${JSON.stringify(exact)}`);
  if (typeof at !== "string" || Number.isNaN(Date.parse(at))) throw new Error(`at is ${JSON.stringify(at)}`);
  if (typeof source !== "string") throw new Error(`source is ${JSON.stringify(source)}`);
  if (timeline !== undefined && (typeof timeline !== "number" || !Number.isSafeInteger(timeline) || timeline < 1))
    throw new Error(`timeline is ${JSON.stringify(timeline)}, expected a whole number from 1 on`);
  return { node, nodeId, dataVersion, exact, at, source, ...(timeline === undefined ? {} : { timeline }) };
}
