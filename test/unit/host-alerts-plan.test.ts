import test from "ava";
import { alertsDocument } from "../../components/topology/documents/alerts.ts";
import { documentsOf } from "../../components/topology/documents.ts";
import { alertsJson } from "../../scripts/host/alerts/call.ts";
import { type AlertsFacts, alertPaths } from "../../scripts/host/alerts/facts.ts";
import type { AlertEvent } from "../../scripts/host/alerts/history.ts";
import { alertItems, planAlerts } from "../../scripts/host/alerts/plan.ts";
import { journalLine, messageOf, summaryOf } from "../../scripts/host/alerts/words.ts";
import type { AlertsDocument } from "../../scripts/host/contract.ts";
import { WAITING as timer } from "../fixtures/units.ts";
import { postgresConfig, sshfsConfig, valid } from "../helpers/topologies.ts";

const document: AlertsDocument = {
  stage: "alerts",
  host: "alice",
  node: "alice",
  stages: ["storage", "lightningd"],
  repeatMinutes: 60,
  lagBytes: 2 ** 24,
  freePercent: 10,
};
const COMMAND = "/usr/local/bin/tell";
const commanded = { ...document, command: COMMAND };

const bareHost = (of = document): AlertsFacts => ({
  entries: new Map(alertPaths(of).map((path) => [path, undefined])),
  timer: undefined,
  service: undefined,
  account: undefined,
  group: undefined,
});

/** The facts that a host would give after the plan was carried out. */
function after(facts: AlertsFacts, of = document): AlertsFacts {
  const entries = new Map(facts.entries);
  for (const action of planAlerts(facts, of)) {
    if (action.kind === "write-file")
      entries.set(action.path, { kind: "file", content: action.content, ...action.ownership });
    if (action.kind === "make-directory") entries.set(action.path, { kind: "directory", ...action.ownership });
  }
  return { entries, timer, service: timer, account: { gid: 990 }, group: 990 };
}

test("a bare host gets account, directory, config and units, and a second pass changes nothing", (t) => {
  const actions = planAlerts(bareHost(), document);
  const items = new Set(actions.map(({ item }) => item));
  for (const item of alertItems()) t.true(items.has(item), item);
  t.deepEqual(
    actions.slice(-3).map(({ kind }) => kind),
    ["daemon-reload", "enable-unit", "start-unit"],
  );
  t.deepEqual(planAlerts(after(bareHost()), document), []);
});

test("a changed threshold writes the config and nothing else: each look reads it", (t) => {
  t.deepEqual(
    planAlerts(after(bareHost()), { ...document, freePercent: 20 }).map(({ item }) => item),
    ["file:/etc/twofold/alerts.json"],
  );
});

test("a group that was deleted comes back under the number that the account has", (t) => {
  t.like(planAlerts({ ...after(bareHost()), group: undefined }, document), [{ kind: "create-group", gid: 990 }]);
});

test("refuses an alert command that is not there, or that its account can't run, before anything is changed", (t) => {
  const message =
    /ALERT-COMMAND.*\n {2}received: \/usr\/local\/bin\/tell: .*\n {2}why: .*\n {2}to do: put the program there/;
  const facts = bareHost(commanded);
  t.throws(() => planAlerts(facts, commanded), { message });
  const file = (mode: string) => ({ kind: "file", owner: "root", group: "root", mode, content: "" }) as const;
  facts.entries.set(COMMAND, file("0744"));
  t.throws(() => planAlerts(facts, commanded), { message });
  facts.entries.set(COMMAND, { ...file("0755"), kind: "directory" });
  t.throws(() => planAlerts(facts, commanded), { message });
  facts.entries.set(COMMAND, file("0755"));
  t.notThrows(() => planAlerts(facts, commanded));
});

test("every host watches what it has: volumes, copies, members, the node", (t) => {
  const stages = (config = sshfsConfig()) =>
    Object.fromEntries(
      [...documentsOf(valid(config))].map(([host, documents]) => [
        host,
        documents.flatMap((each) => (each.stage === "alerts" ? each.stages : [])),
      ]),
    );
  t.deepEqual(stages(), { alice: ["storage", "replica", "lightningd"], eve: [], vault: ["storage", "replica"] });
  t.deepEqual(stages(postgresConfig()).eve, ["etcd", "postgres"]);
});

test("the config's times are minutes in the document, and its command goes to every host", (t) => {
  const config = sshfsConfig();
  for (const [repeat, minutes] of [
    ["5m", 5],
    ["2h", 120],
    ["1d", 1440],
  ] as const) {
    config.alerts = { repeat, command: COMMAND };
    t.like(alertsDocument(valid(config), "eve", []), { repeatMinutes: minutes, command: COMMAND });
  }
});

const event = (kind: AlertEvent["kind"], code: AlertEvent["code"], value = "v"): AlertEvent => ({
  kind,
  code,
  value,
  subject: "device 2",
  at: "2026-11-23T12:00:00.000Z",
  since: "2026-11-23T11:00:00.000Z",
});

test("the journal has each event on one line, with a priority by how bad it is", (t) => {
  t.regex(
    journalLine("alice", event("raised", "DEVICE_MISSING")),
    /^<2>DEVICE_MISSING on alice: device 2: v; why: .+; to do: .+$/,
  );
  t.regex(
    journalLine("alice", event("again", "DEVICE_ERRORS")),
    /^<4>DEVICE_ERRORS on alice still, since 2026-11-23T11/,
  );
  t.regex(
    journalLine("alice", event("over", "DEVICE_MISSING")),
    /^<5>DEVICE_MISSING on alice is over: device 2; it had lasted since/,
  );
  t.notRegex(journalLine("alice", event("raised", "LOOK_FAILED", "one\ntwo")), /\n/);
});

test("the command's summary names the worst, and its text has every event with what to do", (t) => {
  const events = [event("over", "PG_LAG"), event("raised", "DEVICE_ERRORS"), event("raised", "DEVICE_MISSING")];
  t.is(summaryOf("alice", events), "alice: DEVICE_MISSING, and 2 more");
  t.is(summaryOf("alice", events.slice(0, 1)), "alice: PG_LAG is over");
  const text = messageOf("alice", events);
  for (const { code } of events) t.true(text.includes(code));
  t.is(text.split("to do: ").length, 3, "what is over needs nothing");
});

test("the events as JSON stay within what one variable may hold, the oldest first", (t) => {
  const many = Array.from({ length: 50 }, () => event("raised", "DEVICE_ERRORS", "x".repeat(100)));
  const text = alertsJson(many, 2000);
  t.true(Buffer.byteLength(text) <= 2000);
  t.true((JSON.parse(text) as unknown[]).length > 5);
  t.deepEqual(JSON.parse(alertsJson(many)), many);
});
