import test from "ava";
import fc from "fast-check";
import { diffOf } from "../../scripts/standins/docker/engine.ts";
import { secret } from "../../scripts/standins/wire.ts";

const keys = { known: ["name", "adds", "command", "restart"], sets: ["adds"], updated: ["restart"] };

test("the order of a set and outputs that are no inputs are no change, for any order", (t) => {
  fc.assert(
    fc.property(
      fc
        .array(fc.record({ a: fc.string(), b: fc.array(fc.string()) }))
        .chain((items) => fc.tuple(fc.constant(items), fc.shuffledSubarray(items, { minLength: items.length }))),
      ([items, shuffled]) => {
        const state = { name: "n", adds: { list: items }, networkDatas: [1] };
        t.false(diffOf(state, { name: "n", adds: { list: shuffled } }, keys).changes);
      },
    ),
  );
});

test("the order of a list that is not a set replaces", (t) => {
  t.deepEqual(diffOf({ command: ["a", "b"] }, { command: ["b", "a"] }, keys), {
    changes: true,
    replaces: ["command"],
    deleteBeforeReplace: true,
  });
});

test("what can be updated does not replace", (t) => {
  t.deepEqual(diffOf({ restart: "no" }, { restart: "always" }, keys), {
    changes: true,
    replaces: [],
    deleteBeforeReplace: false,
  });
});

test("a value that becomes secret is no change", (t) => {
  t.false(diffOf({ name: "n" }, { name: secret("n") }, keys).changes);
});

test("an element that is added to or taken from a set replaces", (t) => {
  t.deepEqual(diffOf({ adds: ["A"] }, { adds: ["A", "B"] }, keys).replaces, ["adds"]);
  t.deepEqual(diffOf({ adds: ["A", "B"] }, { adds: ["B"] }, keys).replaces, ["adds"]);
});
