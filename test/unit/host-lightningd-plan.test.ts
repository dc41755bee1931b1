import test from "ava";
import { LIGHTNINGD, type LightningdDocument } from "../../scripts/host/contract.ts";
import { DIRECTORIES, type LightningdFacts } from "../../scripts/host/lightningd/facts.ts";
import { programsOf } from "../../scripts/host/lightningd/install/layout.ts";
import { awaitsOf, lightningdItems, planLightningd } from "../../scripts/host/lightningd/plan.ts";
import { isStranger } from "../../scripts/host/lightningd/strangers.ts";
import type { UnitState } from "../../scripts/host/lightningd/unit.ts";
import type { Entry } from "../../scripts/host/read.ts";
import { Refusal } from "../../scripts/host/stage.ts";
import { lightningdDocument } from "../fixtures/lightningd/document.ts";

const MAIN = "/srv/lightning/lightning/regtest/lightningd.sqlite3";
const root = { owner: "root", group: "root" };
const UNIT: UnitState = {
  load: "loaded",
  enabled: "enabled",
  active: "active",
  sub: "running",
  invocation: "1".repeat(32),
  mainPid: 314,
  lastStatus: 0,
  restarts: 0,
  needsReload: false,
  since: "2026-11-23T04:00:00.000Z",
};

/** A host on which nothing of the stage is there, its volume mounted. */
function newHost(): LightningdFacts {
  return {
    install: { kind: "unpacked", installations: undefined, programs: undefined, tree: { state: "absent" } },
    entries: new Map(),
    unmounted: [],
    networkDirectory: undefined,
    unit: { ...UNIT, load: "not-found", enabled: "", active: "inactive", sub: "dead", mainPid: 0, invocation: "" },
    startedWith: undefined,
    strangers: [],
    awaits: "init",
    sharedDisks: [],
    certificateProblem: undefined,
    lacksLibpq: false,
    journalModes: {},
  };
}

/** A host on which everything that a first plan writes is there, and lightningd runs with it. */
function runningHost(document: LightningdDocument): LightningdFacts {
  const entries = new Map<string, Entry | undefined>();
  for (const action of planLightningd(newHost(), document)) {
    if (action.kind === "write-file")
      entries.set(action.path, { kind: "file", content: action.content, ...action.ownership });
    if (action.kind === "make-directory") entries.set(action.path, { kind: "directory", ...action.ownership });
  }
  const desired = /^Environment=TWOFOLD_DESIRED=(.*)$/m.exec(entries.get(LIGHTNINGD.unitFile)?.content ?? "")?.[1];
  return {
    install: {
      kind: "unpacked",
      installations: { kind: "directory", ...root, mode: "0755" },
      programs: { kind: "symlink", ...root, mode: "0777", target: programsOf(document.install) },
      tree: { state: "ok", version: "v26.06.6" },
    },
    entries,
    unmounted: [],
    networkDirectory: { kind: "directory", owner: "bitcoin", group: "bitcoin", mode: "0700" },
    unit: UNIT,
    startedWith: desired,
    strangers: [],
    awaits: undefined,
    sharedDisks: [],
    certificateProblem: undefined,
    lacksLibpq: false,
    journalModes: { [MAIN]: "wal" },
  };
}

const stopped = (facts: LightningdFacts, active = "inactive"): LightningdFacts => ({
  ...facts,
  unit: { ...facts.unit, active, mainPid: 0 },
  startedWith: undefined,
});
/** Kind and item of each action, with "~" before one that only follows from another. */
const planOf = (facts: LightningdFacts, document = lightningdDocument()) =>
  planLightningd(facts, document).map((action) => `${"consequence" in action ? "~" : ""}${action.kind} ${action.item}`);

test("nothing is done on a host that runs what the document says", (t) => {
  t.deepEqual(planOf(runningHost(lightningdDocument())), []);
});

test("a new node is made ready and enabled, and not started", (t) => {
  t.deepEqual(planOf(newHost()), [
    "make-directory directory:/opt/twofold",
    "lightningd/install program:/opt/twofold/lightningd-abababababab",
    "make-symlink symlink:/opt/twofold/bin",
    "make-directory directory:/etc/lightningd",
    "make-directory directory:/etc/twofold",
    "write-file file:/etc/lightningd/lightningd.conf",
    "write-file file:/etc/twofold/gate.json",
    "write-file file:/usr/local/lib/twofold/start-lightningd",
    "make-directory directory:/srv/lightning/lightning/regtest",
    "write-file file:/etc/systemd/system/lightningd.service",
    "~daemon-reload unit:lightningd.service",
    "enable-unit unit:lightningd.service",
  ]);
});

test("a node that was started before is started again when it stands still or has failed", (t) => {
  const facts = runningHost(lightningdDocument());
  for (const active of ["inactive", "failed"])
    t.deepEqual(planOf(stopped(facts, active)), ["lightningd/start unit:lightningd.service"]);
  for (const awaits of ["init", "witness rebuild"] as const) t.deepEqual(planOf({ ...stopped(facts), awaits }), []);
  t.deepEqual(planOf({ ...stopped(facts), unit: { ...UNIT, active: "activating" } }), []);
});

test("a changed option is written and lightningd restarted as a consequence, tied to the start that it replaces", (t) => {
  const changed = lightningdDocument({ options: { alias: "alice" } });
  const facts = runningHost(lightningdDocument());
  t.deepEqual(planOf(facts, changed), [
    "write-file file:/etc/lightningd/lightningd.conf",
    "write-file file:/etc/twofold/gate.json",
    "write-file file:/etc/systemd/system/lightningd.service",
    "~daemon-reload unit:lightningd.service",
    "~lightningd/restart unit:lightningd.service",
  ]);
  t.like(planLightningd(facts, changed).at(-1), { invocation: UNIT.invocation });
  t.false(planOf(stopped(facts), changed).some((action) => action.includes("restart")));
});

test("lightningd that runs with earlier settings is restarted although the files are right", (t) => {
  const facts = { ...runningHost(lightningdDocument()), startedWith: "0123456789abcdef" };
  t.deepEqual(planOf(facts), ["lightningd/restart unit:lightningd.service"]);
});

test("another place to ask before a start changes the gate's document and does not restart lightningd", (t) => {
  const witnesses = [{ kind: "local" as const, host: "alice", directory: "/var/lib/twofold/witness" }];
  const peer = {
    host: "vault",
    address: "192.0.2.20",
    port: 22,
    user: "w",
    hostKey: "ssh-ed25519 AAAA",
    identityFile: "/k",
  };
  const facts = runningHost(lightningdDocument({ witnesses }));
  t.deepEqual(planOf(facts, lightningdDocument({ witnesses, peers: [peer] })), [
    "write-file file:/etc/twofold/gate.json",
  ]);
});

test("another mode of a file is put right without a restart", (t) => {
  const facts = runningHost(lightningdDocument());
  const path = "/etc/lightningd/lightningd.conf";
  const entries = new Map(facts.entries).set(path, { ...(facts.entries.get(path) as Entry), mode: "0644" });
  t.deepEqual(planOf({ ...facts, entries }), [`set-ownership file:${path}`]);
});

test("the journal mode of a running node is changed between a stop and a start, without a restart more", (t) => {
  const { wallet } = lightningdDocument();
  const document = lightningdDocument({ wallet: { ...wallet, journalMode: "delete" } });
  t.deepEqual(planOf(runningHost(lightningdDocument()), document), [
    "write-file file:/etc/twofold/gate.json",
    "~lightningd/stop unit:lightningd.service",
    `lightningd/set-journal-mode journal-mode:${MAIN}`,
    "~lightningd/start unit:lightningd.service",
  ]);
});

test("main and replica get the declared journal mode, each only if it has another", (t) => {
  const { wallet } = lightningdDocument();
  const replica = { path: "/mnt/replica/lightningd.sqlite3", peek: { kind: "local" as const } };
  const document = lightningdDocument({ wallet: { ...wallet, replica } });
  const facts = stopped(runningHost(document));
  const modes = (main: "wal" | "delete", copy: "wal" | "delete") =>
    planOf({ ...facts, journalModes: { [MAIN]: main, [replica.path]: copy } }, document);
  const start = "lightningd/start unit:lightningd.service";
  t.deepEqual(modes("wal", "wal"), [start]);
  t.deepEqual(modes("wal", "delete"), [`lightningd/set-journal-mode journal-mode:${replica.path}`, start]);
  t.deepEqual(modes("delete", "wal"), [`lightningd/set-journal-mode journal-mode:${MAIN}`, start]);
});

test("a wallet that was brought here gets its journal mode, and is not started before a witness knows it", (t) => {
  const { wallet } = lightningdDocument();
  const replica = { path: "/mnt/replica/lightningd.sqlite3", peek: { kind: "local" as const } };
  const document = lightningdDocument({ wallet: { ...wallet, replica } });
  const facts: LightningdFacts = { ...stopped(runningHost(document)), awaits: "witness rebuild" };
  t.deepEqual(planOf({ ...facts, journalModes: { [MAIN]: "delete" } }, document), [
    `lightningd/set-journal-mode journal-mode:${MAIN}`,
  ]);
  t.regex(
    awaitsOf(facts, document) ?? "",
    /not started: .*witness rebuild takes it on, .*resync replica .*repair starts it/,
  );
  t.notRegex(awaitsOf(facts, lightningdDocument()) ?? "", /resync/);
  t.regex(awaitsOf({ ...facts, awaits: "init" }, document) ?? "", /not started: \.\/twofold init gives a new node/);
  t.is(awaitsOf({ ...facts, awaits: undefined }, document), undefined);
  t.is(awaitsOf({ ...facts, unit: UNIT }, document), undefined, "it runs");
});

test("refuses to write over config and unit of somebody else's lightningd", (t) => {
  const facts = { ...newHost(), strangers: [LIGHTNINGD.config, LIGHTNINGD.unitFile] };
  const error = t.throws(() => planOf(facts), { instanceOf: Refusal });
  t.is(error?.code, "HOST-IN-THE-WAY");
  t.regex(error?.received ?? "", /^\/etc\/lightningd\/lightningd\.conf, \/etc\/systemd\/system\/lightningd\.service$/);
  t.regex(error?.fix ?? "", /node\.options, mv (\S+lightningd\.conf) \1\.before-twofold, mv /);
});

test("config and unit begin with the words by which they are known as twofold's own", (t) => {
  const paths: string[] = [LIGHTNINGD.config, LIGHTNINGD.unitFile];
  for (const action of planLightningd(newHost(), lightningdDocument()))
    if (action.kind === "write-file" && paths.includes(action.path))
      t.false(isStranger({ kind: "file", content: action.content, ...action.ownership }), action.path);
  t.true(isStranger({ kind: "file", content: "network=bitcoin\n", ...root, mode: "0644" }));
  t.true(isStranger({ kind: "symlink", target: "/dev/null", ...root, mode: "0777" }));
  t.false(isStranger(undefined));
  t.plan(5);
});

test("an empty or foreign file is left to the gate", (t) => {
  const facts = runningHost(lightningdDocument());
  for (const mode of ["empty", "foreign"] as const)
    t.deepEqual(planOf({ ...facts, journalModes: { [MAIN]: mode } }), []);
});

test("refuses first of all when the volume isn't mounted, and makes no directory under its mount point", (t) => {
  const plan = planOf({ ...newHost(), unmounted: ["/srv/lightning"], awaits: undefined });
  t.is(plan[0], "~lightningd/require-mount mount:/srv/lightning");
  t.false(plan.some((action) => action.includes("directory:/srv")));
  t.false(plan.some((action) => action.includes("lightningd/start")));
});

test("refuses a replica on a disk that main lies on too, naming the disk", (t) => {
  const facts = { ...newHost(), sharedDisks: ["sda"] };
  const error = t.throws(() => planOf(facts), { instanceOf: Refusal });
  t.is(error?.code, "replica-disk");
  t.regex(error?.received ?? "", /share sda/);
});

test("the config for degraded mode goes when the wallet has no replica any more", (t) => {
  const { wallet } = lightningdDocument();
  const replica = { path: "/mnt/replica/lightningd.sqlite3", peek: { kind: "local" as const } };
  const facts = runningHost(lightningdDocument({ wallet: { ...wallet, replica } }));
  t.true(planOf(facts).includes("remove-file file:/etc/lightningd/lightningd.degraded.conf"));
});

test("every item that a plan touches is among the stage's items", (t) => {
  const document = lightningdDocument();
  const items = new Set<string>(lightningdItems(document));
  for (const action of planLightningd(
    { ...newHost(), awaits: undefined, journalModes: { [MAIN]: "delete" } },
    document,
  ))
    t.true(items.has(action.item), action.item);
  t.true(DIRECTORIES.every((path) => items.has(`directory:${path}`)));
});
