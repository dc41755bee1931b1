import test from "ava";
import fc from "fast-check";
import { Random } from "../faults/seed.ts";
import { type Cut, type Outcome, planCuts, sightings } from "../prove/campaign.ts";

const kinds = fc.constantFrom("remote" as const, "local" as const, "alone" as const);
const REMOTE_ONLY = ["power cut of the replica's host", "power cut of both", "link cut"];

test("one seed plans the same cuts, and another one others", (t) => {
  const plan = (seed: string) => JSON.stringify(planCuts(new Random(seed), 50, "remote"));
  t.is(plan("5eed"), plan("5eed"));
  t.not(plan("5eed"), plan("5eee"));
});

test("numbers of a seed fill their range, ends included, and leave it nowhere", (t) => {
  fc.assert(
    fc.property(fc.string(), fc.integer({ min: -5, max: 5 }), fc.integer({ min: 0, max: 4 }), (seed, low, span) => {
      const random = new Random(seed);
      const seen = new Set(Array.from({ length: 400 }, () => random.between(low, low + span)));
      return seen.size === span + 1 && [...seen].every((value) => value >= low && value <= low + span);
    }),
  );
  t.pass();
});

test("a plan has as many cuts as were asked for, and each fault that its topology can have", (t) => {
  fc.assert(
    fc.property(fc.string(), fc.integer({ min: 8, max: 200 }), kinds, (seed, total, kind) => {
      const plan = planCuts(new Random(seed), total, kind);
      const faults = new Set<string>(plan.map(({ fault }) => fault));
      t.is(plan.length, total);
      t.is(faults.size, kind === "remote" ? 7 : 4);
      t.is(
        REMOTE_ONLY.every((fault) => faults.has(fault)),
        kind === "remote",
      );
    }),
  );
});

test("half of the cuts come when the node is idle, and none between main and replica needs it to move on", (t) => {
  fc.assert(
    fc.property(fc.string(), fc.integer({ min: 8, max: 200 }), kinds, (seed, total, kind) => {
      const plan = planCuts(new Random(seed), total, kind);
      const idle = plan.filter(({ moment }) => moment === "idle").length;
      t.is(idle, Math.floor(total / 2));
      const between = plan.filter(({ moment }) => moment === "between").map(({ fault }) => fault);
      t.false(between.includes("link cut") || between.includes("disk pull"));
      if (kind === "alone") t.deepEqual(between, [], "there is no replica to be between");
    }),
  );
});

const CUT: Cut = { fault: "power cut of the node", moment: "idle", delay: 0, count: 1 };
const copy = (dataVersion: number, parts: { hotJournal?: boolean; wal?: boolean } = {}): Outcome["main"] => ({
  dataVersion,
  nodeId: undefined,
  labels: [],
  hotJournal: false,
  wal: false,
  ...parts,
});
const outcome = (main: Outcome["main"], replica: Outcome["replica"], sinceAcknowledged?: number): Outcome => ({
  cut: CUT,
  main,
  replica,
  gate: undefined,
  lost: [],
  lostByMain: [],
  sinceAcknowledged,
  seconds: 1,
});

test("a run in which no cut met anything has seen nothing", (t) => {
  const seen = sightings([outcome(copy(5), copy(5)), outcome(undefined, undefined)]);
  t.deepEqual(seen, {
    behindByOne: 0,
    journalOfMain: 0,
    journalOfReplica: 0,
    lostByMain: 0,
    lostByBoth: 0,
    refused: 0,
    sinceAcknowledged: Number.POSITIVE_INFINITY,
  });
});

test("a replica that is one behind is counted, one that is two behind or ahead is not", (t) => {
  const outcomes = [outcome(copy(5), copy(4), 80), outcome(copy(5), copy(3), 30), outcome(copy(5), copy(6))];
  t.like(sightings(outcomes), { behindByOne: 1, sinceAcknowledged: 30 });
});

test("a hot journal counts for its own copy, and so does a WAL", (t) => {
  const outcomes = [outcome(copy(5, { hotJournal: true }), copy(5)), outcome(copy(5), copy(5, { wal: true }))];
  t.like(sightings(outcomes), { journalOfMain: 1, journalOfReplica: 1 });
});
