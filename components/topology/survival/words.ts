/** The words of the survival table and how bad each is, so that two tables can be compared from their text alone. */

/** What is lost at most, from nothing to all. */
export const LOST = {
  nothing: "nothing",
  lastCommit: "the last acknowledged commit",
  commits: "acknowledged commits",
  channels: "the channels; their balance comes back if the peers close them",
  channelMoney: "all money in channels",
  all: "all money",
} as const;
export type Lost = (typeof LOST)[keyof typeof LOST];
const LOST_ORDER: readonly string[] = Object.values(LOST);

export const SURVIVES = { yes: "yes", withLoss: "with a loss", no: "no" } as const;
export type Survives = (typeof SURVIVES)[keyof typeof SURVIVES];
const SURVIVES_ORDER: readonly string[] = Object.values(SURVIVES);

/** A node that has lost a commit goes on, perhaps without a channel; one that has lost its channels is another node. */
export function survives(lost: Lost): Survives {
  if (lost === LOST.nothing) return SURVIVES.yes;
  return lost === LOST.lastCommit || lost === LOST.commits ? SURVIVES.withLoss : SURVIVES.no;
}

export const RUNS_ON = "does not stop";
export const RUNS_ON_BUT = "does not stop, but a restart waits";
export const RESTARTS = "restarts by itself";
export const FOR_GOOD = "for good";

/** How long a node may stand still: its options, or Core Lightning's defaults. */
export interface Patience {
  blocks: number;
  /** About how long that is, or nothing where blocks are made by hand. */
  time: string | undefined;
}

export function standsStillUntil(what: string, patience: Patience): string {
  const time = patience.time === undefined ? "" : ` (about ${patience.time})`;
  return `until ${what}; money is at risk after ${patience.blocks} blocks${time}`;
}

export const NOT_APPLICABLE = "does not apply";

export const COLUMNS = ["survives", "lost", "standsStill", "repair", "proof"] as const;
export type Column = (typeof COLUMNS)[number];

/**
 * How bad a cell is: greater is worse. Nothing where there is nothing to compare: the repair, and what does not apply.
 * NaN for words that this version does not know.
 */
export function badness(column: Column, text: string): number | undefined {
  if (column === "repair" || text === NOT_APPLICABLE) return undefined;
  switch (column) {
    case "survives":
      return indexIn(SURVIVES_ORDER, text);
    case "lost":
      return indexIn(LOST_ORDER, text);
    case "proof":
      return text.startsWith("proved ") ? 0 : text.startsWith("not proved") ? 1 : Number.NaN;
    case "standsStill": {
      const order = indexIn([RUNS_ON, RUNS_ON_BUT, RESTARTS], text);
      if (!Number.isNaN(order)) return order;
      if (text === FOR_GOOD) return 5;
      const blocks = /^until .*; money is at risk after (\d+) blocks/.exec(text)?.[1];
      // The fewer blocks, the worse; always between a restart and for good.
      return blocks === undefined ? Number.NaN : 3 + 1 / (1 + Number(blocks));
    }
  }
}

function indexIn(order: readonly string[], text: string): number {
  const index = order.indexOf(text);
  return index === -1 ? Number.NaN : index;
}
