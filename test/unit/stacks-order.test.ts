import test from "ava";
import fc from "fast-check";
import type { ReplicaDocument, StageDocument } from "../../scripts/host/contract.ts";
import { orderStages } from "../../stacks/stage-order.ts";

/** Only what the order depends on. */
const stage = (host: string, name: StageDocument["stage"], extra: Partial<ReplicaDocument> = {}) =>
  ({ stage: name, host, ...extra }) as StageDocument;

const alice = [
  stage("alice", "base"),
  stage("alice", "storage"),
  stage("alice", "replica", { role: "source" }),
  stage("alice", "witness"),
  stage("alice", "lightningd"),
];
const vault = [
  stage("vault", "base"),
  stage("vault", "storage"),
  stage("vault", "replica", { role: "target" }),
  stage("vault", "witness"),
];
const documents = new Map([
  ["alice", alice],
  ["vault", vault],
]);

const after = (name: string) => orderStages(documents).find((each) => each.name === name)?.after;

test("a host's stages follow one another in the order of its documents", (t) => {
  t.deepEqual(after("alice-base"), []);
  t.deepEqual(after("alice-storage"), ["alice-base"]);
  t.deepEqual(after("alice-witness"), ["alice-replica"]);
});

test("the replica is mounted after the host that keeps it is ready", (t) => {
  t.deepEqual(after("alice-replica"), ["alice-storage", "vault-replica"]);
  t.deepEqual(after("vault-replica"), ["vault-storage"]);
});

test("lightningd waits for every stage of every other host", (t) => {
  t.deepEqual(after("alice-lightningd"), [
    "alice-witness",
    "vault-base",
    "vault-storage",
    "vault-replica",
    "vault-witness",
  ]);
});

test("every document is placed exactly once, after all that it waits for, however the hosts are listed", (t) => {
  const hosts = fc.shuffledSubarray(
    [
      ["alice", alice],
      ["bob", [stage("bob", "base"), stage("bob", "witness")]],
      ["carol", []],
      ["vault", vault],
    ] as [string, StageDocument[]][],
    { minLength: 1 },
  );
  fc.assert(
    fc.property(hosts, (list) => {
      const ordered = orderStages(new Map(list));
      const names = ordered.map(({ name }) => name);
      const declared = list.flatMap(([, each]) => each);
      t.deepEqual(names.toSorted(), declared.map((each) => `${each.host}-${each.stage}`).sort());
      for (const { name, after: earlier } of ordered) {
        for (const other of earlier) {
          t.true(names.indexOf(other) !== -1 && names.indexOf(other) < names.indexOf(name), `${name} before ${other}`);
        }
      }
    }),
  );
});
