import test from "ava";
import { parse } from "yaml";
import { postgresDocument } from "../../components/topology/documents/postgres.ts";
import type { PostgresDocument } from "../../scripts/host/contract.ts";
import {
  POSTGRES,
  type PostgresFacts,
  packagesOf,
  postgresPaths,
  type RoleFacts,
  scopeOf,
} from "../../scripts/host/postgres/facts.ts";
import { type PatroniMember, takesPart } from "../../scripts/host/postgres/patroni.ts";
import { holds, planPostgres, postgresItems, rolesMissing } from "../../scripts/host/postgres/plan.ts";
import type { Entry } from "../../scripts/host/read.ts";
import { dynamicConfiguration, NODE_ROLE_SETTINGS, renderPatroni, renderRoles } from "../../templates/patroni.ts";
import { RUNNING as unit } from "../fixtures/units.ts";
import { postgresConfig, valid } from "../helpers/topologies.ts";

function documentOf(host: string): PostgresDocument {
  const document = postgresDocument(valid(postgresConfig()), host);
  if (document === undefined) throw new Error(`${host} is no member`);
  return document;
}

const document = documentOf("vault");
const members: PatroniMember[] = [
  { name: "vault", role: "leader", state: "running", timeline: 1 },
  { name: "eve", role: "sync_standby", state: "streaming", timeline: 1, lag: 0 },
];
const right: RoleFacts = {
  roles: {
    alice: {
      login: true,
      powers: false,
      limit: 1,
      settings: Object.entries(NODE_ROLE_SETTINGS).map(([name, value]) => `${name}=${value}`),
      inDatabases: [],
      grants: [],
    },
    alice_gate: {
      login: true,
      powers: false,
      limit: -1,
      settings: ["default_transaction_read_only=on"],
      inDatabases: [],
      grants: ["pg_monitor", "pg_read_all_data"],
    },
  },
  owner: "alice",
  public: false,
};

function bareHost(): PostgresFacts {
  const key: Entry = { kind: "file", owner: "root", group: "root", mode: "0600", content: "" };
  return {
    entries: new Map(postgresPaths(document).map((path) => [path, path.endsWith(".key") ? key : undefined])),
    installed: new Set(),
    unit: undefined,
    certificateProblem: undefined,
    data: { mounted: true, holds: false, elsewhere: [] },
    scope: undefined,
    rebuilding: false,
    beginning: undefined,
    clocks: [],
    otherCertificate: [],
    members: undefined,
    dynamic: undefined,
    roles: undefined,
    overridden: [],
  };
}

/** The facts that a primary would give after the plan was carried out. */
function primary(): PostgresFacts {
  const entries = new Map(bareHost().entries);
  for (const action of planPostgres(bareHost(), document)) {
    if (action.kind === "write-file")
      entries.set(action.path, { kind: "file", ...action.ownership, content: action.content });
    if (action.kind === "make-directory") entries.set(action.path, { kind: "directory", ...action.ownership });
    if (action.kind === "set-ownership") {
      const entry = entries.get(action.path);
      if (entry) entries.set(action.path, { ...entry, ...action.ownership });
    }
  }
  return {
    ...bareHost(),
    entries,
    installed: new Set(packagesOf(17)),
    unit,
    members,
    dynamic: { ...dynamicConfiguration(document), extra: "an administrator's" },
    roles: right,
  };
}

test("on a bare host nothing is started before the package's own cluster is forbidden", (t) => {
  const actions = planPostgres(bareHost(), document);
  const at = (item: string) => actions.findIndex((action) => action.item === item);
  t.true(
    at(`file:${POSTGRES.createCluster}`) >= 0 && at(`file:${POSTGRES.createCluster}`) < at("package:postgresql-17"),
  );
  // Patroni's unit starts where its config is, so that comes after everything it needs.
  t.true(at("package:patroni") < at(`file:${POSTGRES.config}`));
  t.is(actions.at(-1)?.kind, "postgres/start");
});

test("a second pass changes nothing, on the primary and on a standby", (t) => {
  t.deepEqual(planPostgres(primary(), document), []);
  const standby = [
    { ...members[0], name: "eve" },
    { name: "vault", role: "replica", state: "streaming" },
  ] as PatroniMember[];
  t.deepEqual(planPostgres({ ...primary(), members: standby, dynamic: undefined, roles: undefined }, document), []);
});

test("every planned action is an item's", (t) => {
  const items = new Set(postgresItems(document));
  const facts = { ...bareHost(), members, unit, dynamic: {}, roles: { roles: {}, owner: null, public: null } };
  for (const { item, kind } of planPostgres(facts, document))
    t.true(items.has(item) || kind === "make-directory", item);
});

test("a certificate that was renewed and is not shown is drift, and read", (t) => {
  const [action, ...rest] = planPostgres({ ...primary(), otherCertificate: [5432] }, document);
  t.like(action, { kind: "postgres/reload", item: "unit:patroni.service" });
  t.is(action?.consequence, undefined);
  t.regex(action?.summary ?? "", /port 5432/);
  t.deepEqual(rest, []);
});

test("shared settings that somebody weakened are put back by the primary", (t) => {
  for (const weakened of [
    { synchronous_mode: false },
    { pause: true },
    { synchronous_mode_strict: false },
    { synchronous_node_count: 0 },
    { postgresql: { parameters: { ...dynamicConfiguration(document).postgresql.parameters, fsync: "off" } } },
  ]) {
    const dynamic = { ...dynamicConfiguration(document), ...weakened };
    t.deepEqual(
      planPostgres({ ...primary(), dynamic }, document).map(({ kind }) => kind),
      ["postgres/configure"],
      JSON.stringify(weakened),
    );
  }
});

test("a role that may do more, or whose waits can end early, is put right", (t) => {
  const changed = (change: (facts: RoleFacts) => void) => {
    const facts = structuredClone(right);
    change(facts);
    return rolesMissing(facts, document);
  };
  const role = (facts: RoleFacts, name: string) => facts.roles[name] ?? t.fail(name);
  t.deepEqual(
    changed(() => {}),
    [],
  );
  t.is(changed((facts) => Object.assign(role(facts, "alice") ?? {}, { powers: true })).length, 1);
  t.is(changed((facts) => Object.assign(role(facts, "alice") ?? {}, { limit: -1 })).length, 1);
  t.is(
    changed((facts) => Object.assign(role(facts, "alice") ?? {}, { settings: ["synchronous_commit=local"] })).length,
    1,
  );
  t.is(changed((facts) => Object.assign(role(facts, "alice") ?? {}, { grants: ["pg_signal_backend"] })).length, 1);
  t.is(
    changed((facts) => Object.assign(role(facts, "alice") ?? {}, { inDatabases: ["alice: synchronous_commit=local"] }))
      .length,
    1,
  );
  t.is(changed((facts) => Object.assign(facts, { owner: "postgres" })).length, 1);
  t.is(changed((facts) => Object.assign(facts, { public: true })).length, 1);
  t.is(changed((facts) => delete facts.roles.alice_gate).length, 1);
});

test("what ALTER SYSTEM has put before a shared setting is taken out on the member on which it was set", (t) => {
  const [action, ...rest] = planPostgres({ ...primary(), overridden: ["fsync=off", "wal_level=minimal"] }, document);
  t.like(action, { kind: "postgres/reset", names: ["fsync", "wal_level"] });
  t.regex(action?.summary ?? "", /fsync=off, wal_level=minimal/);
  t.deepEqual(rest, []);
});

test("a host or a node may have a name that YAML has another meaning for", (t) => {
  const [first] = document.members;
  for (const name of ["on", "no", "null", "12", "1e3"]) {
    const named = { ...document, host: name, cluster: name, members: [{ ...first, host: name, address: "192.0.2.9" }] };
    // PyYAML reads YAML 1.1.
    t.like(parse(renderPatroni(named), { version: "1.1" }), { name, scope: name });
    t.is(scopeOf(renderPatroni(named)), name);
  }
  t.is(scopeOf("scope: alice\n"), "alice", "as it was written before");
});

test("a member that is down, or does not stream, is started", (t) => {
  for (const facts of [
    { ...primary(), unit: { ...unit, active: "failed" } },
    { ...primary(), members: undefined },
    { ...primary(), members: [{ name: "vault", role: "replica", state: "starting" }] },
  ])
    t.deepEqual(
      planPostgres({ ...facts, dynamic: undefined, roles: undefined }, document).map(({ kind }) => kind),
      ["postgres/start"],
    );
});

test("a standby takes part only while it streams", (t) => {
  t.true(takesPart({ name: "a", role: "sync_standby", state: "streaming" }));
  t.false(takesPart({ name: "a", role: "replica", state: "running" }));
  t.false(takesPart({ name: "a", role: "replica", state: "creating replica" }));
  t.false(takesPart({ name: "a", role: "leader", state: "starting" }));
});

test("settings hold if all that is wanted is there, whatever else there is", (t) => {
  t.true(holds({ a: { b: 1, c: 2 }, d: 3 }, { a: { b: 1 } }));
  t.false(holds({ a: { b: 2 } }, { a: { b: 1 } }));
  t.false(holds({ a: "text" }, { a: { b: 1 } }));
  t.false(holds(undefined, { a: 1 }));
});

test("Patroni's file is YAML that lets nobody in without a certificate, and holds no password", (t) => {
  for (const host of ["alice", "vault", "eve"]) {
    const text = renderPatroni(documentOf(host));
    const config = parse(text);
    t.is(config.name, host);
    t.is(config.scope, "alice");
    t.deepEqual(config.etcd3.hosts, ["192.0.2.10:2379", "192.0.2.20:2379", "192.0.2.30:2379"]);
    t.deepEqual(config.bootstrap.dcs, dynamicConfiguration(document));
    for (const line of config.postgresql.pg_hba as string[])
      t.regex(line, /^(local all postgres peer|hostssl \S+ \S+ all cert map=(members|node))$/);
    t.false(/password\s*[:=]|md5|scram|\btrust\b/i.test(text));
    t.true((config.postgresql.basebackup as unknown[]).includes("no-slot"));
  }
});

test("only members' certificates may replicate, and only the node's is the node's role", (t) => {
  const { postgresql } = parse(renderPatroni(document));
  const ident = postgresql.pg_ident as string[];
  t.deepEqual(
    ident.filter((line) => /replicator|rewinder/.test(line)).map((line) => line.split(" ").slice(0, 2).join(" ")),
    ["alice", "vault", "eve"].flatMap((host) => [`members "${host}"`, `members "${host}"`]),
  );
  t.deepEqual(
    ident.filter((line) => line.startsWith("node ")),
    ['node "alice.node" "alice"', 'node "alice.node" "alice_gate"'],
  );
});

test("what is acknowledged waits for a standby, and nothing of it is asynchronous", (t) => {
  const shared = dynamicConfiguration({ synchronousStandbys: 2, members: [] });
  t.true(shared.synchronous_mode && shared.synchronous_mode_strict);
  t.is(shared.synchronous_node_count, 2);
  const { fsync, full_page_writes, synchronous_commit } = shared.postgresql.parameters;
  t.deepEqual([fsync, full_page_writes, synchronous_commit], ["on", "on", "on"]);
  // Patroni's own rule; it clamps ttl to 20.
  t.true(shared.ttl >= 20 && shared.loop_wait + 2 * shared.retry_timeout <= shared.ttl);
  t.true(renderRoles().includes(`ALTER ROLE :"role" SET statement_timeout = '0';`));
});

test("on a host with a volume Patroni keeps its data there, in a directory that it may rename", (t) => {
  t.is(document.volume, "/srv/replicas");
  const config = parse(renderPatroni(document)) as { postgresql: { data_dir: string } };
  t.is(config.postgresql.data_dir, "/srv/replicas/postgresql/17/alice");
  const parent = planPostgres(bareHost(), document).find(
    ({ item }) => item === "directory:/srv/replicas/postgresql/17",
  );
  t.like(parent, { kind: "make-directory", ownership: { owner: "postgres", mode: "0755" } });
  const other = parse(renderPatroni(documentOf("eve"))) as { postgresql: { data_dir: string } };
  t.is(other.postgresql.data_dir, "/var/lib/postgresql/17/alice");
});

test("refuses to start a member whose volume is away, and one whose data lies elsewhere", (t) => {
  t.throws(() => planPostgres({ ...primary(), data: { mounted: false, holds: false, elsewhere: [] } }, document), {
    message: /MEMBER-VOLUME/,
  });
  const elsewhere = ["/var/lib/postgresql/17/alice"];
  t.throws(() => planPostgres({ ...primary(), data: { mounted: true, holds: false, elsewhere } }, document), {
    message: /MEMBER-DATA-ELSEWHERE.*\/var\/lib\/postgresql\/17\/alice/s,
  });
});

test("refuses to go on beside a member that the topology has lost sight of", (t) => {
  const stranger: PatroniMember = { name: "mallory", role: "sync_standby", state: "streaming" };
  const facts = { ...primary(), members: [...members, stranger] };
  t.throws(() => planPostgres(facts, document), {
    message: /PG-UNKNOWN-MEMBER.*mallory \(sync_standby.*forget mallory/s,
  });
  // One that is being taken out is on a declared host.
  t.deepEqual(planPostgres(facts, { ...document, others: ["mallory"] }), []);
});

test("refuses a host whose Patroni belongs to another cluster, and one whose clock is off, before anything is changed", (t) => {
  t.throws(() => planPostgres({ ...primary(), scope: "bob" }, document), { message: /MEMBER-OTHER-CLUSTER.*bob/s });
  t.notThrows(() => planPostgres({ ...primary(), scope: "alice" }, document));
  t.throws(() => planPostgres({ ...primary(), clocks: [{ host: "eve", ahead: 61 }] }, document), {
    message: /MEMBER-CLOCK.*eve is 61 s ahead of vault/s,
  });
});

test("what a member's beginning finds wrong is refused in its plan", (t) => {
  const beginning = {
    taken: [{ port: 5432, program: "postgres", pid: 9 }],
    own: undefined,
    cluster: [],
    members: undefined,
    freeBytes: 2 ** 40,
  };
  t.throws(() => planPostgres({ ...bareHost(), beginning }, document), { message: /MEMBER-PORT/ });
  t.notThrows(() => planPostgres({ ...bareHost(), beginning: { ...beginning, taken: [] } }, document));
});

test("refuses to change any member, there or new, while the primary is on a host that is to leave", (t) => {
  const leaving = { ...document, others: ["bob"] };
  const led = (name: string): PatroniMember[] => [
    { name, role: "leader", state: "running", timeline: 1 },
    { name: "eve", role: "sync_standby", state: "streaming", timeline: 1, lag: 0 },
  ];
  const fresh = { taken: [], own: undefined, cluster: [], freeBytes: 2 ** 40 };
  const there = (members: PatroniMember[]) => planPostgres({ ...primary(), members, dynamic: undefined }, leaving);
  const joining = (members: PatroniMember[]) =>
    planPostgres({ ...bareHost(), beginning: { ...fresh, members } }, leaving);
  for (const plan of [there, joining]) {
    t.throws(() => plan(led("bob")), { message: /RETIRE-PRIMARY[\s\S]*switchover/ });
    t.notThrows(() => plan(led("vault")));
  }
});

test("a cluster whose commits don't wait for a standby is put right", (t) => {
  for (const loose of [{ synchronous_mode: false }, { synchronous_mode_strict: false }])
    t.deepEqual(
      planPostgres({ ...primary(), dynamic: { ...dynamicConfiguration(document), ...loose } }, document).map(
        ({ kind }) => kind,
      ),
      ["postgres/configure"],
    );
  for (const level of ["off", "local", "remote_write"]) {
    const dynamic = structuredClone(dynamicConfiguration(document)) as {
      postgresql: { parameters: Record<string, unknown> };
    };
    dynamic.postgresql.parameters.synchronous_commit = level;
    t.deepEqual(
      planPostgres({ ...primary(), dynamic }, document).map(({ kind }) => kind),
      ["postgres/configure"],
      level,
    );
  }
});

test("new settings reach a Patroni that hangs too: to be started again would do nothing to it", (t) => {
  const facts = primary();
  facts.entries.set(POSTGRES.config, {
    kind: "file",
    owner: "root",
    group: "postgres",
    mode: "0640",
    content: "old\n",
  });
  const kinds = (found: PostgresFacts) => planPostgres(found, document).map(({ kind }) => kind);
  t.deepEqual(kinds({ ...facts, members: undefined, dynamic: undefined, roles: undefined }), [
    "write-file",
    "postgres/reload",
    "postgres/start",
  ]);
  t.deepEqual(kinds(facts), ["write-file", "postgres/reload"]);
  t.false(kinds({ ...facts, unit: { ...unit, active: "inactive" } }).includes("postgres/reload"));
});
