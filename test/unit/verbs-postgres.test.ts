import test from "ava";
import fc from "fast-check";
import { parseSyncState } from "../../scripts/host/postgres/sync-state.ts";
import { answering, failoverText } from "../../scripts/verbs/postgres.ts";

const members = [
  { name: "pg1", role: "replica", state: "stopped", timeline: 3 },
  { name: "pg2", role: "sync_standby", state: "running", timeline: 3 },
  { name: "pg3", role: "replica", state: "running", timeline: 3 },
];
const copy = (dataVersion: number) => ({ dataVersion, position: "0/3000060" });
const seen = (versions: { pg2: number; pg3: number }) => [
  { host: "pg1", error: "its Patroni does not answer", members: [] },
  { host: "pg2", members, copy: copy(versions.pg2) },
  { host: "pg3", members, copy: copy(versions.pg3) },
];

test("a failover to the synchronous standby is said to have every acknowledged commit", (t) => {
  const text = failoverText("pg2", seen({ pg2: 42, pg3: 42 }), 42, undefined);
  t.regex(text, /pg2: sync_standby, running, timeline 3, data_version 42, log up to 0\/3000060/);
  t.regex(text, /pg1: NOT SEEN \(its Patroni does not answer\)/);
  t.regex(text, /witness: data_version 42 or more/);
  t.regex(text, /it has every acknowledged commit/);
  t.notRegex(text, /IS NOT SYNCHRONOUS/);
});

test("a failover to any other member is said to be able to lose all channels, and what of it nobody sees", (t) => {
  const text = failoverText("pg3", seen({ pg2: 42, pg3: 42 }), undefined, undefined);
  t.regex(text, /pg3 IS NOT SYNCHRONOUS: .* a peer may take all the money/);
  t.regex(text, /What pg1 has and pg3 has not is lost for good/);
  t.regex(text, /witness: NOT SEEN/);
});

test("a member whose wallet is older than the witness is said to lose that many commits, and no other is", (t) => {
  const version = fc.integer({ min: 1, max: 1_000_000 });
  fc.assert(
    fc.property(version, version, (has, marked) => {
      const text = failoverText("pg3", seen({ pg2: marked, pg3: has }), marked, undefined);
      t.is(text.includes(`at least ${marked - has} acknowledged commits would be lost`), has < marked);
      t.is(text.includes("is not older than what the witness has seen"), has >= marked);
    }),
  );
});

test("a failover back to the primary of before is said to have every acknowledged commit, whatever its role is now", (t) => {
  const named = { leader: "pg3", standbys: ["pg1"] };
  const text = failoverText("pg3", seen({ pg2: 42, pg3: 42 }), 42, named);
  t.regex(text, /pg3 was the primary when this was last known: it has every acknowledged commit/);
  t.notRegex(text, /IS NOT SYNCHRONOUS/);
  t.regex(failoverText("pg1", seen({ pg2: 42, pg3: 42 }), 42, named), /pg1 was synchronous/);
  t.deepEqual(parseSyncState('{"leader":"pg3","quorum":0,"sync_standby":"pg1,pg2"}'), {
    leader: "pg3",
    standbys: ["pg1", "pg2"],
  });
  t.deepEqual(parseSyncState('{"leader":"pg3","quorum":0,"sync_standby":null}'), { leader: "pg3", standbys: [] });
  t.is(parseSyncState(""), undefined);
});

test("a change is made on the primary's host if its Patroni answers, else on the first that answers", (t) => {
  const led = [
    { name: "pg1", role: "replica", state: "streaming" },
    { name: "pg2", role: "leader", state: "running" },
  ];
  const all = [
    { host: "pg1", members: led },
    { host: "pg2", members: led },
  ];
  t.is(answering(all), "pg2");
  t.is(
    answering([
      { host: "pg1", members: led },
      { host: "pg2", error: "no answer", members: [] },
    ]),
    "pg1",
  );
  t.is(answering([{ host: "pg1", error: "no answer", members: [] }]), undefined);
});
