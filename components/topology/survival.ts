/**
 * The survival table: for every failure, what a topology survives, loses at most, how long it may stand still before money is at risk,
 * which verb repairs it, and which test proved it when. A pure function of topology and proofs.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import type { Problem } from "./problem.ts";
import type { Topology } from "./schema.ts";
import { postgresOutcome } from "./survival/postgres.ts";
import { type Proofs, proofText, readProofs, type Sentence, type TestId } from "./survival/proofs.ts";
import { claimOf, FAILURE_IDS, FAILURES, type Failure, type Outcome, REPAIRS, type Repair } from "./survival/row.ts";
import { type Situation, situationOf } from "./survival/situation.ts";
import { sqliteOutcome } from "./survival/sqlite.ts";
import { badness, COLUMNS, type Column, NOT_APPLICABLE, survives } from "./survival/words.ts";

/** The text of one row, by column. */
export type Cells = Record<Column, string>;
/** The text of a table, by failure: what a stack keeps as its output, to compare the next one with. */
export type TableCells = Record<string, Cells>;

export interface SurvivalRow {
  failure: Failure;
  cells: Cells;
  /** The tests that prove each cell; none where the failure does not apply. */
  tests: Record<Column, TestId[]>;
}

export interface SurvivalTable {
  rows: SurvivalRow[];
  cells: TableCells;
  /** 12 hexadecimal digits that stand for this table; dates of proofs and the order of rows do not change them. */
  digest: string;
}

export function survivalTable(topology: Topology, proofs: Proofs = readProofs()): SurvivalTable {
  const situation = situationOf(topology);
  const rows = FAILURE_IDS.map((failure) => rowOf(failure, situation, topology, proofs));
  const cells = Object.fromEntries(rows.map((row) => [row.failure, row.cells]));
  return { rows, cells, digest: digestOf(cells) };
}

/** What the table says of one failure, or nothing where it does not apply. */
function outcomeOf(failure: Failure, situation: Situation, topology: Topology): Outcome | undefined {
  const { wallet } = topology.node;
  return wallet.kind === "sqlite"
    ? sqliteOutcome(failure, situation)
    : postgresOutcome(failure, situation, topology, wallet);
}

/**
 * What a test of this id holds a node of this topology to, as the proofs name it.
 * @throws for a failure that does not apply
 */
export function sentenceOf(id: TestId, topology: Topology): Sentence {
  const situation = situationOf(topology);
  const { setup } = situation;
  const repair = /^repair:(.*)$/.exec(id)?.[1] as Repair | undefined;
  if (repair !== undefined) return { id, setup, claim: REPAIRS[repair] };
  const outcome = outcomeOf(id.replace(/^survival:/, "") as Failure, situation, topology);
  if (outcome === undefined) throw new Error(`[${id}] does not apply to ${setup}`);
  return { id, setup, claim: claimOf(outcome) };
}

function rowOf(failure: Failure, situation: Situation, topology: Topology, proofs: Proofs): SurvivalRow {
  const outcome = outcomeOf(failure, situation, topology);
  if (outcome === undefined) {
    return {
      failure,
      cells: {
        survives: NOT_APPLICABLE,
        lost: NOT_APPLICABLE,
        standsStill: NOT_APPLICABLE,
        repair: NOT_APPLICABLE,
        proof: NOT_APPLICABLE,
      },
      tests: { survives: [], lost: [], standsStill: [], repair: [], proof: [] },
    };
  }
  const tests = testsOf(failure, outcome);
  return {
    failure,
    cells: {
      survives: survives(outcome.lost),
      lost: outcome.lost,
      standsStill: outcome.standsStill,
      repair: outcome.repair,
      proof: proofText(
        tests.proof.map((id) => sentenceOf(id, topology)),
        proofs,
      ),
    },
    tests,
  };
}

/** The failure's own test proves what happens; a verb has one of its own, which proves that it repairs. */
function testsOf(failure: Failure, { verb }: Outcome): SurvivalRow["tests"] {
  const own: TestId = `survival:${failure}`;
  const repair: TestId = verb === undefined ? own : `repair:${verb}`;
  return {
    survives: [own],
    lost: [own],
    standsStill: [own],
    repair: [repair],
    proof: [...new Set([own, repair])],
  };
}

function digestOf(cells: TableCells): string {
  // A stack's output comes back with its keys in another order.
  const undated = Object.keys(cells)
    .sort()
    .map((failure) => [
      failure,
      COLUMNS.map((column) => {
        const text = cells[failure]?.[column] ?? "";
        return column === "proof" ? (badness("proof", text) ?? null) : text;
      }),
    ]);
  return shortHash(JSON.stringify(undated));
}

const shortHash = (text: string) => createHash("sha256").update(text).digest("hex").slice(0, 12);

/** What the last `up` that succeeded has recorded of its table. */
export interface RecordedTable {
  /** Undefined if it can't be read: it was written by another version, or by hand. */
  cells: TableCells | undefined;
  /** See {@link nextDigest}. */
  digest: string;
}

/**
 * The digest that the next `up` records, and that `twofold:accept` has to name if the table gets worse: it stands for this table after all
 * that were before it. So an acceptance is of one change, and expires with it: the same change, made once more after another one, has another
 * digest. An `up` that changes nothing in the table keeps it.
 */
export function nextDigest(before: RecordedTable | undefined, after: SurvivalTable): string {
  if (before === undefined) return after.digest;
  if (before.cells !== undefined && digestOf(before.cells) === after.digest) return before.digest;
  return shortHash(`${before.digest} ${after.digest}`);
}

/** The recorded table, from the two outputs of a stack; undefined for a stack that has recorded none. */
export function recordedTable(
  cells: TableCells | undefined,
  output: unknown,
  digest: unknown,
): RecordedTable | undefined {
  const empty = (value: unknown) => value === undefined || value === null;
  if (empty(output) && empty(digest)) return undefined;
  const known = typeof digest === "string" && /^[0-9a-f]{12}$/.test(digest);
  return { cells, digest: known ? digest : shortHash(JSON.stringify([output, digest])) };
}

/** A cell that is worse than it was. */
export interface Worsening {
  failure: string;
  column: Column;
  before: string;
  after: string;
}

/**
 * Cells that got worse. A failure that did not apply before, or does not any more, is not compared: the other rows say what a copy
 * that was added or removed is worth. Words of another version that this one does not know count as better than any.
 */
export function worse(before: TableCells, after: TableCells): Worsening[] {
  return Object.entries(after).flatMap(([failure, row]) =>
    COLUMNS.flatMap((column) => {
      const was = before[failure]?.[column];
      const is = row[column];
      if (was === undefined || was === is) return [];
      const [old, now] = [badness(column, was), badness(column, is)];
      if (old === undefined || now === undefined || now <= old) return [];
      return [{ failure, column, before: was, after: is }];
    }),
  );
}

const COLUMN_TITLES: Record<Column, string> = {
  survives: "survives",
  lost: "lost at most",
  standsStill: "stands still",
  repair: "repair",
  proof: "proof",
};

/** A table as a stack's output had it, or nothing if there was none, it has another shape, or no row. */
export function readTableCells(output: unknown): TableCells | undefined {
  const row = z.object(
    Object.fromEntries(COLUMNS.map((column) => [column, z.string()])) as Record<Column, z.ZodString>,
  );
  const parsed = z.record(z.string(), row).safeParse(output);
  return parsed.success && Object.keys(parsed.data).length > 0 ? parsed.data : undefined;
}

/** Refuses a change that makes the node survive less, or of which that can't be said, until the config accepts just this change. */
export function checkSurvival(
  before: RecordedTable | undefined,
  after: SurvivalTable,
  accept: Topology["accept"],
): Problem[] {
  if (before === undefined) return [];
  const digest = nextDigest(before, after);
  if (accept?.table === digest) return [];
  const received = accept === undefined ? "no acceptance" : `an acceptance of another change, ${accept.table}`;
  const acceptance = `twofold:accept: { table: ${digest}, reason: … }`;
  if (before.cells === undefined)
    return [
      {
        code: "SURVIVAL_UNREADABLE",
        path: "twofold:accept.table",
        what: "the survival table that this stack has recorded can't be read, so nothing says whether the node would survive less than now",
        received,
        why: "what was promised before is kept only until an operator gives it up by name",
        fix: `compare 'pulumi stack output survival' with './twofold survival' yourself, and accept what you see: ${acceptance}`,
      },
    ];
  const lines = worse(before.cells, after.cells);
  if (lines.length === 0) return [];
  return [
    {
      code: "SURVIVES_LESS",
      path: "twofold:accept.table",
      what: `after this change the node would survive less than now, or with less proof:${lines.map(worseningText).join("")}`,
      received,
      why: "what was promised before is kept only until an operator gives it up by name",
      fix: `undo the change, or accept this very change: ${acceptance}`,
    },
  ];
}

function worseningText({ failure, column, before, after }: Worsening): string {
  return `\n    ${titleOf(failure)}, ${COLUMN_TITLES[column]}: ${before} → ${after}`;
}

function titleOf(failure: string): string {
  return FAILURES[failure as Failure] ?? failure;
}

/** The table for a terminal; with the table before, changes are marked as was → will be. */
export async function renderTable(table: SurvivalTable, before?: TableCells): Promise<string> {
  const { default: Table } = await import("cli-table3");
  const grid = new Table({
    head: ["failure", ...COLUMNS.map((column) => COLUMN_TITLES[column])],
    style: { head: [], border: [] },
    colWidths: [25, 13, 18, 28, 26, 28],
    wordWrap: true,
  });
  for (const { failure, cells } of table.rows) {
    grid.push([FAILURES[failure], ...COLUMNS.map((column) => cellText(before?.[failure]?.[column], cells[column]))]);
  }
  return `${grid.toString()}\ntable ${table.digest}`;
}

function cellText(before: string | undefined, after: string): string {
  return before === undefined || before === after ? after : `* ${before} → ${after}`;
}
