import test from "ava";
import fc from "fast-check";
import { etcdDocument } from "../../components/topology/documents/etcd.ts";
import type { EtcdDocument } from "../../scripts/host/contract.ts";
import { decideForget, type ForgetFacts } from "../../scripts/host/etcd/forget.ts";
import { parseMembers } from "../../scripts/host/etcd/members.ts";
import { planRestart } from "../../scripts/host/postgres/change.ts";
import { canHandOver } from "../../scripts/host/postgres/hand-over.ts";
import { isPaused, type PatroniMember } from "../../scripts/host/postgres/patroni.ts";
import { postgresConfig, valid } from "../helpers/topologies.ts";

const member = (name: string, role: string, pending_restart = false): PatroniMember => ({
  name,
  role,
  state: role === "leader" ? "running" : "streaming",
  pending_restart,
});

test("a restart takes standbys first, the one that commits wait for last of them, and the primary after all", (t) => {
  const members = [member("a", "sync_standby"), member("b", "leader"), member("c", "replica")];
  t.deepEqual(planRestart(members, "--all"), { standbys: ["c", "a"], primary: "b" });
});

test("without a name, only members whose settings wait for a restart are taken", (t) => {
  const members = [member("a", "sync_standby", true), member("b", "leader"), member("c", "replica")];
  t.deepEqual(planRestart(members, undefined), { standbys: ["a"], primary: undefined });
  t.deepEqual(planRestart(members, "b"), { standbys: [], primary: "b" });
  t.deepEqual(planRestart([member("b", "leader")], undefined), { standbys: [], primary: undefined });
});

test("every member is restarted once at most, and the primary never among the standbys", (t) => {
  const roles = fc.constantFrom("sync_standby", "replica", "quorum_standby");
  fc.assert(
    fc.property(fc.array(fc.tuple(roles, fc.boolean()), { maxLength: 5 }), fc.boolean(), (others, waiting) => {
      const members = [
        member("primary", "leader", waiting),
        ...others.map(([role, pending], index) => member(`standby${index}`, role, pending)),
      ];
      const { standbys, primary } = planRestart(members, undefined);
      t.is(new Set(standbys).size, standbys.length);
      t.false(standbys.includes("primary"));
      t.is(primary, waiting ? "primary" : undefined);
      t.is(standbys.length, others.filter(([, pending]) => pending).length);
      const firstSynchronous = standbys.findIndex(
        (name) => members.find((one) => one.name === name)?.role !== "replica",
      );
      const lastOther = standbys.findLastIndex((name) => members.find((one) => one.name === name)?.role === "replica");
      t.true(firstSynchronous === -1 || lastOther < firstSynchronous);
    }),
  );
});

test("the primary hands over by its Patroni's end only to the one standby that may take its lock, and not in maintenance mode", (t) => {
  const facts = { own: "a", primary: "a", target: "b", ready: ["b"], paused: false };
  t.true(canHandOver(facts));
  t.false(canHandOver({ ...facts, own: "b" }));
  t.false(canHandOver({ ...facts, own: undefined }));
  t.false(canHandOver({ ...facts, ready: ["b", "c"] }));
  t.false(canHandOver({ ...facts, target: "c" }));
  t.false(canHandOver({ ...facts, paused: true }));
  t.true(isPaused({ ttl: 20, pause: true }));
  t.false(isPaused({ ttl: 20 }));
  t.true(isPaused(undefined), "unknown");
});

function documentOf(): EtcdDocument {
  const document = etcdDocument(valid(postgresConfig()), "alice");
  if (document === undefined) throw new Error("alice is in etcd");
  return document;
}
const document = documentOf();
const LIST = document.members
  .map(
    ({ host, address }, index) => `${index}, started, ${host}, https://${address}:2380, https://${address}:2379, false`,
  )
  .join("\n");
const dead: ForgetFacts = {
  known: parseMembers(LIST),
  members: [member("alice", "leader"), member("vault", "sync_standby")],
  answers: undefined,
};

test("a host that is dead while another member is primary is forgotten, by its entry in etcd", (t) => {
  t.is(decideForget(dead, "eve", document)?.id, "2");
  // Forgotten already, or never started: there is nothing to remove, and nothing to complain of.
  t.is(decideForget({ ...dead, known: parseMembers(LIST.replace(/2, .*/, "")) }, "eve", document), undefined);
  const unstarted = LIST.replace("started, eve", "unstarted, ");
  t.is(decideForget({ ...dead, known: parseMembers(unstarted) }, "eve", document)?.id, "2");
});

const REFUSALS: [title: string, facts: ForgetFacts, name: string, message: RegExp][] = [
  ["a host that answers", { ...dead, answers: "192.0.2.30 refuses connections at port 2379" }, "eve", /FORGET-ANSWERS/],
  ["a host without a majority of etcd", { ...dead, known: undefined }, "eve", /FORGET-NO-MAJORITY/],
  ["a host that nobody knows", dead, "mallory", /FORGET-UNKNOWN.*alice, vault, eve/s],
  [
    "the primary, which may have the newest commits",
    { ...dead, members: [member("eve", "leader"), member("vault", "sync_standby")] },
    "eve",
    /FORGET-NO-PRIMARY.*failover/s,
  ],
  ["a host while no Patroni says who is primary", { ...dead, members: undefined }, "eve", /FORGET-NO-PRIMARY/],
];
for (const [title, facts, name, message] of REFUSALS) {
  test(`refuses to forget ${title}`, (t) => {
    t.throws(() => decideForget(facts, name, document), { message });
  });
}
