import test from "ava";
import fc from "fast-check";
import { etcdDocument } from "../../components/topology/documents/etcd.ts";
import { postgresDocument } from "../../components/topology/documents/postgres.ts";
import { retiredDocument } from "../../components/topology/documents/retired.ts";
import type { RetiredDocument } from "../../scripts/host/contract.ts";
import { tokenOf } from "../../scripts/host/etcd/facts.ts";
import { parseMembers } from "../../scripts/host/etcd/members.ts";
import { scopeOf } from "../../scripts/host/postgres/facts.ts";
import type { PatroniMember } from "../../scripts/host/postgres/patroni.ts";
import type { RetiredFacts } from "../../scripts/host/retired/facts.ts";
import { planRetired, promiseHolds } from "../../scripts/host/retired/plan.ts";
import { renderEtcdDefault } from "../../templates/etcd.ts";
import { renderPatroni } from "../../templates/patroni.ts";
import { RUNNING as running } from "../fixtures/units.ts";
import { type Config, hostKey, postgresConfig, valid } from "../helpers/topologies.ts";

/** alice's cluster with dave in eve's place, whose host is still declared. */
function replaced(): Config {
  const config = postgresConfig(["alice", "vault", "dave"]);
  config.hosts.dave = { address: "192.0.2.40", hostKey: hostKey("dave") };
  config.node.wallet.etcd = ["alice", "vault", "dave"];
  return config;
}

function documentOf(): RetiredDocument {
  const document = retiredDocument(valid(replaced()), "eve");
  if (document === undefined) throw new Error("eve has nothing to leave");
  return document;
}

const document = documentOf();
const stopped = { ...running, active: "inactive", sub: "dead", enabled: "disabled", mainPid: 0 };
const member = (
  name: string,
  role = "replica",
  state = role === "leader" ? "running" : "streaming",
): PatroniMember => ({
  name,
  role,
  state,
});
const VOTERS = ["alice", "vault", "dave", "eve"]
  .map((name, index) => `${index}, started, ${name}, https://${name}:2380, https://${name}:2379, false`)
  .join("\n");

function facts(members: PatroniMember[] | undefined, list = VOTERS): RetiredFacts {
  return {
    postgres: { unit: running, ours: true, members },
    etcd: { unit: running, ours: true, known: parseMembers(list), dataDirectory: "/var/lib/etcd/alice" },
  };
}
const whole = [member("alice", "leader"), member("vault", "sync_standby"), member("dave"), member("eve")];
const kinds = (found: RetiredFacts) => planRetired(found, document).map(({ kind }) => kind);

test("a host that is a member of both has nothing to leave; one that is of neither leaves both", (t) => {
  t.is(retiredDocument(valid(replaced()), "dave"), undefined);
  t.deepEqual(document.parts, ["postgres", "etcd"]);
});

test("a standby leaves PostgreSQL first and etcd after it", (t) => {
  t.deepEqual(kinds(facts(whole)), ["retired/leave-postgres", "retired/leave-etcd"]);
});

test("a host that never was a member, or has left, has nothing to do", (t) => {
  const never = {
    postgres: { unit: undefined, ours: false, members: undefined },
    etcd: { unit: undefined, ours: false, known: undefined, dataDirectory: undefined },
  };
  t.deepEqual(kinds(never), []);
  const left = facts(undefined, VOTERS.replace(/.*eve.*/, ""));
  t.deepEqual(kinds({ postgres: { ...left.postgres, unit: stopped }, etcd: { ...left.etcd, unit: stopped } }), []);
  // Another cluster's settings are not this stack's business.
  t.deepEqual(
    kinds({ postgres: { ...facts(whole).postgres, ours: false }, etcd: { ...facts(whole).etcd, ours: false } }),
    [],
  );
});

test("a member that stands still leaves without asking the others, and out of etcd all the same", (t) => {
  const found = facts(undefined);
  t.deepEqual(
    kinds({
      postgres: { ...found.postgres, unit: { ...stopped, enabled: "enabled" } },
      etcd: { ...found.etcd, unit: stopped },
    }),
    ["retired/leave-postgres", "retired/leave-etcd"],
  );
});

const REFUSALS: [title: string, found: RetiredFacts, message: RegExp][] = [
  [
    "the primary",
    facts([member("alice", "sync_standby"), member("vault"), member("dave"), member("eve", "leader")]),
    /RETIRE-PRIMARY.*switchover alice/s,
  ],
  [
    "the only standby that follows",
    facts([member("alice", "leader"), member("vault", "replica", "starting"), member("eve", "sync_standby")]),
    /RETIRE-STANDBY.*vault replica starting/s,
  ],
  ["a member while no Patroni says how the others are", facts(undefined), /RETIRE-UNSEEN/],
  [
    "a voter while one that is to remain has no vote",
    facts(whole, VOTERS.replace(/(.*dave.*)false/, "$1true")),
    /RETIRE-VOTERS.*dave/s,
  ],
  [
    "a voter while one that is to remain is not there yet",
    facts(whole, VOTERS.replace(/.*dave.*\n/, "")),
    /RETIRE-VOTERS.*dave/s,
  ],
  [
    "a voter while no majority answers",
    { ...facts(whole), etcd: { ...facts(whole).etcd, known: undefined } },
    /RETIRE-NO-MAJORITY/,
  ],
];
for (const [title, found, message] of REFUSALS) {
  test(`refuses to let go of ${title}`, (t) => {
    t.throws(() => planRetired(found, document), { message });
  });
}

test("whoever leaves, a primary and the required standbys remain", (t) => {
  const roles = fc.constantFrom("leader", "sync_standby", "replica");
  const states = fc.constantFrom("running", "streaming", "starting", "stopped");
  const cluster = fc.tuple(
    fc.integer({ min: 1, max: 2 }),
    fc.array(fc.tuple(roles, states), { minLength: 4, maxLength: 4 }),
  );
  fc.assert(
    fc.property(cluster, ([synchronousStandbys, states]) => {
      const members = ["alice", "vault", "dave", "eve"].map((name, index) => member(name, ...(states[index] ?? [])));
      let left = false;
      try {
        left = planRetired(facts(members), { ...document, synchronousStandbys }).length > 0;
      } catch {
        return;
      }
      const remaining = members.slice(0, 3);
      const primary = remaining.some(({ role, state }) => role === "leader" && state === "running");
      const standbys = remaining.filter(({ role, state }) => role !== "leader" && state === "streaming").length;
      t.true(left && primary && standbys >= synchronousStandbys);
      t.true(promiseHolds(members, { ...document, synchronousStandbys }));
    }),
  );
});

test("whose settings lie on a host is read from what twofold writes", (t) => {
  const topology = valid(postgresConfig());
  const [postgres, etcd] = [postgresDocument(topology, "eve"), etcdDocument(topology, "eve")];
  if (postgres === undefined || etcd === undefined) throw new Error("eve is a member");
  t.is(scopeOf(renderPatroni(postgres)), "alice");
  t.is(tokenOf(renderEtcdDefault(etcd, "new")), "alice");
  t.is(scopeOf(undefined), undefined);
  t.is(tokenOf("# etcd\n"), undefined);
});
