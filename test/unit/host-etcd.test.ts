import test from "ava";
import { etcdDocument } from "../../components/topology/documents/etcd.ts";
import type { EtcdDocument } from "../../scripts/host/contract.ts";
import { ETCD, type EtcdFacts, etcdPaths } from "../../scripts/host/etcd/facts.ts";
import { DATA_OWNERSHIP, etcdItems, planEtcd } from "../../scripts/host/etcd/plan.ts";
import { parseMember } from "../../scripts/host/etcd/stage.ts";
import type { Entry } from "../../scripts/host/read.ts";
import { etcdDataDirectory, etcdPeerName, renderEtcdDefault, renderEtcdUnit } from "../../templates/etcd.ts";
import { postgresConfig, valid } from "../helpers/topologies.ts";

function documentOf(host: string): EtcdDocument {
  const document = etcdDocument(valid(postgresConfig()), host);
  if (document === undefined) throw new Error(`${host} has no member of etcd`);
  return document;
}

const document = documentOf("vault");
const unit = {
  load: "loaded",
  active: "active",
  sub: "running",
  enabled: "enabled",
  needsReload: false,
  mainPid: 7,
  startedAt: 1,
};

function bareHost(): EtcdFacts {
  const key: Entry = { kind: "file", owner: "root", group: "root", mode: "0600", content: "" };
  return {
    entries: new Map(etcdPaths(document).map((path) => [path, path.endsWith(".key") ? key : undefined])),
    installed: new Set(),
    unit: undefined,
    certificateProblem: undefined,
    healthy: false,
  };
}

/** The facts that a host would give after the plan was carried out. */
function after(facts: EtcdFacts): EtcdFacts {
  const entries = new Map(facts.entries);
  for (const action of planEtcd(facts, document)) {
    if (action.kind === "write-file")
      entries.set(action.path, { kind: "file", ...action.ownership, content: action.content });
    if (action.kind === "etcd/make-data")
      entries.set(etcdDataDirectory(document.cluster), { kind: "directory", ...DATA_OWNERSHIP });
    if (action.kind === "make-directory") entries.set(action.path, { kind: "directory", ...action.ownership });
    if (action.kind === "set-ownership") {
      const entry = entries.get(action.path);
      if (entry) entries.set(action.path, { ...entry, ...action.ownership });
    }
  }
  return { ...facts, entries, installed: new Set(ETCD.packages), unit, healthy: true };
}

test("on a bare host the drop-in stands before the package, which would start a store of its own", (t) => {
  const actions = planEtcd(bareHost(), document);
  const at = (item: string) => actions.findIndex((action) => action.item === item);
  t.true(at(`file:${ETCD.dropIn}`) >= 0 && at(`file:${ETCD.dropIn}`) < at("package:etcd-server"));
  t.true(at("package:etcd-server") < at(`directory:${etcdDataDirectory(document.cluster)}`));
  t.is(actions.at(-1)?.kind, "etcd/start");
  t.true(renderEtcdUnit(document).includes(`ConditionPathExists=${etcdDataDirectory(document.cluster)}`));
});

test("a second pass changes nothing", (t) => {
  t.deepEqual(planEtcd(after(bareHost()), document), []);
});

test("every planned action is an item's", (t) => {
  const items = new Set(etcdItems(document));
  for (const { item, kind } of planEtcd(bareHost(), document))
    t.true(items.has(item) || kind === "make-directory", item);
});

test("a key that others may read is put right, and its content left alone", (t) => {
  const facts = after(bareHost());
  const path = "/etc/twofold/tls/etcd.key";
  const entry = facts.entries.get(path);
  if (entry) facts.entries.set(path, { ...entry, mode: "0644" });
  const [action, ...others] = planEtcd(facts, document);
  t.is(action?.kind, "set-ownership");
  t.is(action?.item, `key:${path}`);
  t.deepEqual(others, []);
});

test("changed settings restart a member that runs", (t) => {
  const facts = after(bareHost());
  facts.entries.set(ETCD.settings, { kind: "file", owner: "root", group: "root", mode: "0644", content: "old\n" });
  t.deepEqual(
    planEtcd(facts, document).map(({ kind }) => kind),
    ["write-file", "etcd/restart"],
  );
});

test("a member that has no majority is started again until it has one", (t) => {
  t.deepEqual(
    planEtcd({ ...after(bareHost()), healthy: false }, document).map(({ kind }) => kind),
    ["etcd/start"],
  );
});

test("a member without data asks the others before it makes any", (t) => {
  const facts = after(bareHost());
  facts.entries.set(etcdDataDirectory(document.cluster), undefined);
  t.deepEqual(
    planEtcd({ ...facts, healthy: false }, document).map(({ kind }) => kind),
    ["etcd/make-data", "etcd/start"],
  );
});

test("a member is known by its name, and told from one that has not run", (t) => {
  const list =
    "2a1, started, pg1, https://pg1:2380, https://pg1:2379, false\nffffffffffffffff, started, pg2, https://pg2:2380, https://pg2:2379, false\n3b2, unstarted, , https://pg3:2380, , false\n";
  t.deepEqual(parseMember(list, "pg2"), { id: "ffffffffffffffff", started: true });
  t.is(parseMember(list, "pg3"), undefined);
  t.is(parseMember("", "pg1"), undefined);
});

test("refuses to go on without a certificate that the others would take", (t) => {
  t.throws(() => planEtcd({ ...bareHost(), certificateProblem: "it ended on Nov 1" }, document), {
    message: /TLS-CERTIFICATE.*it ended on Nov 1.*certificates renew/s,
  });
});

test("every member names all members and itself, over TLS alone, with certificates asked of clients and peers", (t) => {
  for (const host of ["alice", "vault", "eve"]) {
    const text = renderEtcdDefault(documentOf(host), "new");
    t.true(text.includes(`ETCD_NAME=${host}\n`));
    t.true(
      text.includes(
        "ETCD_INITIAL_CLUSTER=alice=https://192.0.2.10:2380,vault=https://192.0.2.20:2380,eve=https://192.0.2.30:2380\n",
      ),
    );
    t.false(/http:\/\//.test(text));
    for (const word of ["ETCD_CLIENT_CERT_AUTH=true", "ETCD_PEER_CLIENT_CERT_AUTH=true", "ETCD_QUOTA_BACKEND_BYTES="])
      t.true(text.includes(word), word);
    t.true(text.includes(`ETCD_PEER_CERT_ALLOWED_HOSTNAME=${etcdPeerName("alice")}\n`));
  }
});

test("a member that joined a cluster keeps saying so", (t) => {
  const facts = after(bareHost());
  const content = renderEtcdDefault(document, "existing");
  facts.entries.set(ETCD.settings, { kind: "file", owner: "root", group: "root", mode: "0644", content });
  t.deepEqual(planEtcd(facts, document), []);
});
