import test from "ava";
import fc from "fast-check";
import type { StageDocument } from "../../scripts/host/contract.ts";
import { planSteps } from "../../stacks/steps.ts";

/** Only what the order depends on. */
const stage = (host: string, name: StageDocument["stage"], extra: object = {}) =>
  ({ stage: name, host, ...extra }) as StageDocument;
const node = { name: "alice", user: "bitcoin", group: "bitcoin" };
const writers = [{ node: "alice", account: "twofold-witness-alice" }];
const account = { name: "twofold-replica-alice", chroot: "/srv/replica/alice" };

const alice = [
  stage("alice", "base"),
  stage("alice", "storage"),
  stage("alice", "replica", { role: "source", via: "sshfs", node: "alice" }),
  stage("alice", "witness", { node, writers: [] }),
  stage("alice", "lightningd", { wallet: { kind: "sqlite" } }),
];
const vault = [
  stage("vault", "base"),
  stage("vault", "storage"),
  stage("vault", "replica", { role: "target", via: "sshfs", node: "alice", account }),
  stage("vault", "witness", { writers }),
];
const carol = [stage("carol", "base"), stage("carol", "witness", { writers })];
const three = planSteps(
  new Map([
    ["alice", alice],
    ["carol", carol],
    ["vault", vault],
  ]),
);
const step = (name: string) => three.find((each) => each.name === name);

const overNfs = planSteps(
  new Map([
    ["alice", [stage("alice", "base"), stage("alice", "replica", { role: "source", via: "nfs", node: "alice" })]],
    [
      "vault",
      [stage("vault", "base"), stage("vault", "replica", { role: "target", via: "nfs", node: "alice", account })],
    ],
  ]),
);

const identity = (role: string) => ({ role, authority: "alice", commonName: role, names: [] });
const member = (host: string) => [
  stage(host, "base"),
  stage(host, "etcd", { cluster: "alice", identity: identity("etcd") }),
  stage(host, "postgres", { cluster: "alice", identity: identity("postgres") }),
];
const cluster = planSteps(
  new Map([
    [
      "alice",
      [
        stage("alice", "base"),
        stage("alice", "lightningd", { node: "alice", wallet: { kind: "postgres", identity: identity("node") } }),
      ],
    ],
    ["pg1", member("pg1")],
    ["pg2", member("pg2")],
  ]),
);
const clusterStep = (name: string) => cluster.find((each) => each.name === name);

test("a mount over NFS comes after the other host's export, and no key is brought for it", (t) => {
  t.deepEqual(overNfs.find(({ name }) => name === "alice-replica")?.after, ["alice-base", "vault-replica"]);
  t.deepEqual(
    overNfs.filter(({ kind }) => kind !== "stage"),
    [],
  );
});

test("a host leaves the cluster after every member has come, and before lightningd is told of the new ones", (t) => {
  const steps = planSteps(
    new Map([
      [
        "alice",
        [
          stage("alice", "base"),
          stage("alice", "lightningd", { node: "alice", wallet: { kind: "postgres", identity: identity("node") } }),
        ],
      ],
      ["pg1", [stage("pg1", "base"), stage("pg1", "retired")]],
      ["pg2", member("pg2")],
      ["pg3", member("pg3")],
    ]),
  );
  const names = steps.map(({ name }) => name);
  for (const before of ["pg2-etcd", "pg3-etcd", "pg2-postgres", "pg3-postgres"]) {
    t.true(steps.find(({ name }) => name === "pg1-retired")?.after.includes(before), before);
    t.true(names.indexOf(before) < names.indexOf("pg1-retired"));
  }
  t.true(names.indexOf("pg1-retired") < names.indexOf("alice-lightningd"));
});

test("a host's certificates come after its base and the authority's, and before every stage that uses one", (t) => {
  t.deepEqual(clusterStep("pg1-certificates"), {
    kind: "certificates",
    name: "pg1-certificates",
    host: "pg1",
    authority: "alice",
    cluster: "alice",
    identities: [identity("etcd"), identity("postgres")] as never,
    after: ["pg1-base", "alice-base"],
  });
  for (const name of ["pg1-etcd", "pg1-postgres"]) t.true(clusterStep(name)?.after.includes("pg1-certificates"), name);
  t.true(clusterStep("alice-lightningd")?.after.includes("alice-certificates"));
  t.is(step("alice-certificates"), undefined);
});

test("PostgreSQL's members come after every member of etcd, on whichever host, and lightningd after them", (t) => {
  for (const host of ["pg1", "pg2"])
    for (const store of ["pg1-etcd", "pg2-etcd"]) t.true(clusterStep(`${host}-postgres`)?.after.includes(store));
  for (const name of ["pg1-postgres", "pg2-postgres"]) t.true(clusterStep("alice-lightningd")?.after.includes(name));
});

test("a host's stages follow one another in the order of its documents", (t) => {
  t.deepEqual(step("alice-base")?.after, []);
  t.deepEqual(step("alice-storage")?.after, ["alice-base"]);
  t.deepEqual(step("alice-witness")?.after, ["alice-replica"]);
});

test("the replica is mounted after the key was made on the node's host and let in by the replica's", (t) => {
  t.deepEqual(step("alice-replica")?.after, ["alice-storage", "alice-replica-access"]);
  t.deepEqual(step("alice-replica-access"), {
    kind: "access",
    name: "alice-replica-access",
    source: "alice",
    print: ["replica-key", "alice"],
    targets: [{ host: "vault", authorize: ["replica-authorize", "twofold-replica-alice", "alice"] }],
    after: ["vault-replica", "alice-storage"],
  });
});

test("the witness key is brought to every host that keeps a mark, after both sides are ready", (t) => {
  t.deepEqual(step("alice-witness-access"), {
    kind: "access",
    name: "alice-witness-access",
    source: "alice",
    print: ["witness-key"],
    targets: ["carol", "vault"].map((host) => ({ host, authorize: ["witness-authorize", "alice"] })),
    after: ["alice-witness", "carol-witness", "vault-witness"],
  });
});

test("lightningd waits for everything else", (t) => {
  t.is(three.at(-1)?.name, "alice-lightningd");
  t.deepEqual(
    step("alice-lightningd")?.after.toSorted(),
    three
      .slice(0, -1)
      .map(({ name }) => name)
      .sort(),
  );
});

test("a node on one host needs no keys, and a local replica none either", (t) => {
  const alone = [alice[0], alice[1], stage("alice", "replica", { role: "source", via: "local" }), alice[3], alice[4]];
  const steps = planSteps(new Map([["alice", alone.filter((document) => document !== undefined)]]));
  t.deepEqual(
    steps.map(({ name }) => name),
    ["alice-base", "alice-storage", "alice-replica", "alice-witness", "alice-lightningd"],
  );
});

test("every document is placed exactly once, after all that it waits for, however the hosts are listed", (t) => {
  const hosts = fc.shuffledSubarray(
    [
      ["alice", alice],
      ["carol", carol],
      ["dave", []],
      ["vault", vault],
    ] as [string, StageDocument[]][],
    { minLength: 1 },
  );
  fc.assert(
    fc.property(hosts, (list) => {
      const steps = planSteps(new Map(list));
      const names = steps.map(({ name }) => name);
      const documents = steps.flatMap((each) => (each.kind === "stage" ? [each.document] : []));
      const declared = list.flatMap(([, each]) => each);
      t.is(new Set(names).size, names.length);
      t.is(documents.length, declared.length);
      t.true(declared.every((document) => documents.includes(document)));
      for (const { name, after } of steps) {
        for (const earlier of after) {
          t.true(names.includes(earlier) && names.indexOf(earlier) < names.indexOf(name), `${earlier} before ${name}`);
        }
      }
    }),
  );
});
