import test from "ava";
import { etcdDocument } from "../../components/topology/documents/etcd.ts";
import type { EtcdDocument } from "../../scripts/host/contract.ts";
import { ETCD, type EtcdFacts, etcdPaths, parseStart } from "../../scripts/host/etcd/facts.ts";
import { clusterToJoin, memberOf, parseMembers, parsePeers } from "../../scripts/host/etcd/members.ts";
import { othersOf } from "../../scripts/host/etcd/one-at-a-time.ts";
import { DATA_OWNERSHIP, etcdItems, planEtcd } from "../../scripts/host/etcd/plan.ts";
import type { Entry } from "../../scripts/host/read.ts";
import {
  etcdDataDirectory,
  etcdPeerName,
  renderEtcdDefault,
  renderEtcdUnit,
  renderMemberVolume,
} from "../../templates/etcd.ts";
import { RUNNING as unit } from "../fixtures/units.ts";
import { postgresConfig, valid } from "../helpers/topologies.ts";

function documentOf(host: string): EtcdDocument {
  const document = etcdDocument(valid(postgresConfig()), host);
  if (document === undefined) throw new Error(`${host} has no member of etcd`);
  return document;
}

const document = documentOf("eve");
/** Its host has a volume of its own. */
const onVolume = documentOf("vault");
const HOLDS = { mounted: true, holds: true, elsewhere: [] };

function bareHost(document = documentOf("eve")): EtcdFacts {
  const key: Entry = { kind: "file", owner: "root", group: "root", mode: "0600", content: "" };
  return {
    entries: new Map(etcdPaths(document).map((path) => [path, path.endsWith(".key") ? key : undefined])),
    installed: new Set(),
    unit: undefined,
    certificateProblem: undefined,
    data: { mounted: true, holds: false, elsewhere: [] },
    healthy: false,
    snapshotTimer: undefined,
    token: undefined,
    taken: [],
    known: undefined,
    removed: false,
    begun: undefined,
    newAuthority: false,
    rebuilding: false,
  };
}

/** The facts that a host would give after the plan was carried out. */
function after(facts: EtcdFacts, document = documentOf("eve")): EtcdFacts {
  const entries = new Map(facts.entries);
  for (const action of planEtcd(facts, document)) {
    if (action.kind === "write-file")
      entries.set(action.path, { kind: "file", ...action.ownership, content: action.content });
    if (action.kind === "etcd/make-data")
      entries.set(etcdDataDirectory(document), { kind: "directory", ...DATA_OWNERSHIP });
    if (action.kind === "make-symlink")
      entries.set(action.path, { kind: "symlink", owner: "root", group: "root", mode: "0777", target: action.target });
    if (action.kind === "make-directory") entries.set(action.path, { kind: "directory", ...action.ownership });
    if (action.kind === "set-ownership") {
      const entry = entries.get(action.path);
      if (entry) entries.set(action.path, { ...entry, ...action.ownership });
    }
  }
  return {
    ...facts,
    entries,
    installed: new Set(ETCD.packages),
    unit,
    healthy: true,
    data: HOLDS,
    snapshotTimer: unit,
  };
}

test("on a bare host the drop-in stands before the package, which would start a store of its own", (t) => {
  const actions = planEtcd(bareHost(), document);
  const at = (item: string) => actions.findIndex((action) => action.item === item);
  t.true(at(`file:${ETCD.dropIn}`) >= 0 && at(`file:${ETCD.dropIn}`) < at("package:etcd-server"));
  t.true(at("package:etcd-server") < at(`directory:${etcdDataDirectory(document)}`));
  t.is(actions.at(-1)?.kind, "etcd/start");
  t.true(renderEtcdUnit(document).includes(`ConditionPathExists=${etcdDataDirectory(document)}`));
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
  facts.entries.set(etcdDataDirectory(document), undefined);
  t.deepEqual(
    planEtcd({ ...facts, healthy: false }, document).map(({ kind }) => kind),
    ["etcd/make-data", "etcd/start"],
  );
});

const LIST =
  "2a1, started, alice, https://192.0.2.10:2380, https://192.0.2.10:2379, false\n" +
  "ffffffffffffffff, started, vault, https://192.0.2.20:2380, https://192.0.2.20:2379, false\n" +
  "3b2, unstarted, , https://192.0.2.30:2380, , true\n";

test("a member is known by its name, and one that has not run yet by its address", (t) => {
  const known = parseMembers(LIST);
  const [alice, vault, eve] = document.members;
  if (alice === undefined || vault === undefined || eve === undefined) throw new Error("three members");
  t.like(memberOf(known, alice), { id: "2a1", started: true, learner: false });
  t.like(memberOf(known, vault), { id: "ffffffffffffffff" });
  t.like(memberOf(known, eve), { id: "3b2", started: false, learner: true });
  t.is(memberOf(known, { host: "mallory", address: "192.0.2.66" }), undefined);
  t.deepEqual(parseMembers(""), []);
});

test("a member that joins names exactly those that are known by now, whatever the topology says", (t) => {
  t.is(
    clusterToJoin(parseMembers(LIST), { members: document.members.filter(({ host }) => host !== "vault") }),
    "alice=https://192.0.2.10:2380,vault=https://192.0.2.20:2380,eve=https://192.0.2.30:2380",
  );
});

test("what a peer says of the members is read, and anything else is no answer", (t) => {
  t.deepEqual(
    parsePeers('[{"id":1,"peerURLs":["https://a:2380"],"name":"a"},{"id":2,"peerURLs":["https://b:2380"]}]'),
    ["https://a:2380", "https://b:2380"],
  );
  t.is(parsePeers("404 page not found"), undefined);
});

test("a member that comes or goes changes no file of the others, and restarts none of them", (t) => {
  const facts = after(bareHost());
  const fewer = { ...document, members: document.members.filter(({ host }) => host !== "vault"), others: ["vault"] };
  t.deepEqual(planEtcd(facts, fewer), []);
});

test("a member that the others have removed begins anew, with its old data put aside", (t) => {
  const kinds = planEtcd({ ...after(bareHost()), healthy: false, removed: true }, document).map(({ kind }) => kind);
  t.deepEqual(kinds, ["etcd/set-aside", "etcd/make-data", "etcd/start"]);
});

test("a member whose beginning was interrupted decides again how to begin", (t) => {
  const facts = { ...after(bareHost()), healthy: false, data: { ...HOLDS, holds: false } };
  t.deepEqual(
    planEtcd(facts, document).map(({ kind }) => kind),
    ["etcd/make-data", "etcd/start"],
  );
});

test("refuses to go on beside a member that the topology has lost sight of", (t) => {
  const known = parseMembers(LIST.replace("vault", "mallory"));
  const error = t.throws(() => planEtcd({ ...after(bareHost()), known }, document));
  t.regex(error.message, /ETCD-UNKNOWN-MEMBER.*mallory.*twofold forget mallory/s);
  // One that is being taken out is on a declared host.
  t.deepEqual(planEtcd({ ...after(bareHost()), known }, { ...document, others: ["mallory"] }), []);
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

test("on a host with a volume the data lies there, and the unit waits for it", (t) => {
  const actions = planEtcd(bareHost(onVolume), onVolume);
  t.is(etcdDataDirectory(onVolume), "/srv/replicas/etcd/alice");
  t.true(renderEtcdDefault(onVolume, "new").includes("ETCD_DATA_DIR=/srv/replicas/etcd/alice\n"));
  const at = (item: string) => actions.findIndex((action) => action.item === item);
  // The package starts what its drop-ins let it, so they are there before it; the symlink says that twofold has begun.
  t.true(at(`file:${ETCD.volumeDropIn}`) >= 0 && at(`file:${ETCD.volumeDropIn}`) < at("package:etcd-server"));
  t.true(at("directory:/srv/replicas/etcd/alice") < at("symlink:/var/lib/etcd/alice"));
  t.true(renderEtcdUnit(onVolume).includes("ConditionPathIsSymbolicLink=/var/lib/etcd/alice\n"));
  const waits = renderMemberVolume("/srv/replicas");
  t.true(waits.includes("After=srv-replicas.mount\n"));
  t.regex(waits, /^ExecStartPre=.*mountpoint.* \/srv\/replicas$/m);
  const items = new Set(etcdItems(onVolume));
  for (const { item, kind } of actions) t.true(items.has(item) || kind === "make-directory", item);
  t.deepEqual(planEtcd(after(bareHost(onVolume), onVolume), onVolume), []);
});

test("refuses to begin on the empty mount point of a volume that is not mounted", (t) => {
  const data = { mounted: false, holds: false, elsewhere: [] };
  t.throws(() => planEtcd({ ...after(bareHost(onVolume), onVolume), data }, onVolume), {
    message: /MEMBER-VOLUME.*\/srv\/replicas/s,
  });
});

test("refuses to begin a store where the cluster's had begun before and no majority answers", (t) => {
  const lost = { ...after(bareHost()), healthy: false, data: { ...HOLDS, holds: false }, begun: "it was a member" };
  t.throws(() => planEtcd(lost, document), {
    message: /ETCD-STORE-LOST.*it was a member.*thrown away.*twofold etcd rebuild/s,
  });
  // The others have a majority: this one joins them.
  t.notThrows(() => planEtcd({ ...lost, known: parseMembers(LIST) }, document));
  // Its data is there: it is started, and waits for the others.
  t.notThrows(() => planEtcd({ ...lost, data: HOLDS }, document));
});

test("refuses to start a member while a store is being made anew", (t) => {
  t.throws(() => planEtcd({ ...after(bareHost()), rebuilding: true }, document), { message: /ETCD-REBUILDING/ });
});

test("refuses to leave a member's data behind for another place", (t) => {
  const data = { mounted: true, holds: false, elsewhere: ["/var/lib/etcd/alice"] };
  t.throws(() => planEtcd({ ...bareHost(onVolume), data }, onVolume), {
    message: /MEMBER-DATA-ELSEWHERE.*\/var\/lib\/etcd\/alice.*\/srv\/replicas\/etcd\/alice/s,
  });
  // What is left over in an old place keeps nobody from the data that is in the right one.
  t.notThrows(() => planEtcd({ ...bareHost(onVolume), data: { ...data, holds: true } }, onVolume));
});

test("refuses a host whose etcd belongs to another cluster, and one whose ports are taken", (t) => {
  t.throws(() => planEtcd({ ...bareHost(), token: "bob" }, document), { message: /MEMBER-OTHER-CLUSTER.*bob/s });
  const taken = [{ port: 2380, program: "etcd", pid: 812 }];
  t.throws(() => planEtcd({ ...bareHost(), taken }, document), { message: /MEMBER-PORT.*2380.*process 812/s });
  // The unit's own process, which is just starting.
  t.notThrows(() =>
    planEtcd({ ...bareHost(), taken, unit: { ...unit, active: "activating", mainPid: 812 } }, document),
  );
});

test("the start of a process is read by the clock of files, and none where it does not run", (t) => {
  t.is(
    parseStart("ExecMainStartTimestamp=Sat 2026-11-28 22:13:38.123456 UTC\n"),
    Date.parse("2026-11-28T22:13:38.123Z"),
  );
  t.is(parseStart("ExecMainStartTimestamp=\n"), undefined);
});

test("a new authority restarts a member that runs with the one of before: it would refuse every client, its own host's too", (t) => {
  const facts = { ...after(bareHost()), newAuthority: true };
  for (const healthy of [true, false]) {
    const actions = planEtcd({ ...facts, healthy }, document);
    t.deepEqual(
      actions.map(({ kind, consequence }) => ({ kind, consequence })),
      [{ kind: "etcd/restart", consequence: undefined }],
    );
  }
});

test("a member that restarts waits for those that are members by now, and for no other", (t) => {
  const known = parseMembers(LIST);
  t.deepEqual(
    othersOf(documentOf("alice"), known).map(({ host }) => host),
    ["vault"],
    "eve has not run yet",
  );
  t.deepEqual(
    othersOf(document, known).map(({ host }) => host),
    ["alice", "vault"],
  );
});

test("a member without a majority that has new settings is restarted: to be started again would leave it the old ones", (t) => {
  const facts = { ...after(bareHost()), healthy: false };
  facts.entries.set(ETCD.settings, { kind: "file", owner: "root", group: "root", mode: "0644", content: "old\n" });
  for (const active of ["active", "activating"])
    t.deepEqual(
      planEtcd({ ...facts, unit: { ...unit, active } }, document).map(({ kind }) => kind),
      ["write-file", "etcd/restart"],
      active,
    );
  t.is(planEtcd({ ...facts, unit: { ...unit, active: "inactive" } }, document).at(-1)?.kind, "etcd/start");
});
