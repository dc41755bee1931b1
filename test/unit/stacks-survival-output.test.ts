import test from "ava";
import fc from "fast-check";
import { FAILURE_IDS } from "../../components/topology/survival/row.ts";
import { COLUMNS } from "../../components/topology/survival/words.ts";
import { decodeTable, encodeTable } from "../../stacks/last-outputs.ts";

test("a table comes back from the stack's output as it was written", (t) => {
  // Words, punctuation and brackets, as cells have them; never the separator.
  const cell = fc.stringMatching(/^[a-z0-9 ,;:.'[\]/-]{1,60}$/);
  const row = fc.record(Object.fromEntries(COLUMNS.map((column) => [column, cell])));
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...FAILURE_IDS), row), (table) => {
      const read = decodeTable(encodeTable(table as never));
      t.deepEqual(read, Object.keys(table).length === 0 ? undefined : JSON.parse(JSON.stringify(table)));
    }),
  );
});

test("every failure is one line, which holds every cell", (t) => {
  const row = { survives: "no", lost: "all money", standsStill: "for good", repair: "none", proof: "not proved" };
  t.deepEqual(encodeTable({ site: row }), { site: "no | all money | for good | none | not proved" });
});

test("a failure that does not apply says so once", (t) => {
  const row = Object.fromEntries(COLUMNS.map((column) => [column, "does not apply"]));
  t.deepEqual(encodeTable({ network: row } as never), { network: "does not apply" });
  t.deepEqual(decodeTable({ network: "does not apply" }), { network: row } as never);
});

test("what is no table is taken as none: a new stack, another version's output", (t) => {
  t.is(decodeTable(undefined), undefined);
  t.is(decodeTable("text"), undefined);
  t.is(decodeTable({ site: "no | all money" }), undefined);
  t.is(decodeTable({ site: { survives: "no" } }), undefined);
});
