import test from "ava";
import type { CheckReport } from "../../scripts/host/commands/check.ts";
import { EXIT } from "../../scripts/host/contract.ts";
import { type Answer, parseLastLine } from "../../scripts/verbs/ask.ts";
import { checkStatus, checkText } from "../../scripts/verbs/check.ts";
import { parseReport } from "../../scripts/verbs/repair.ts";

const answer = (value: Partial<CheckReport>): Answer<CheckReport> => ({
  host: "alice",
  kind: "answer",
  status: 0,
  value: { host: "alice", items: 12, drift: [], ...value },
});
const drifted = answer({
  drift: [
    { stage: "maintenance", item: "file:/etc/cron.d/twofold", summary: "write /etc/cron.d/twofold, now changed" },
  ],
});
const unreachable: Answer<CheckReport> = {
  host: "vault",
  kind: "failed",
  error: "ssh/unreachable: host vault\n  why: x",
};
const noProgram: Answer<CheckReport> = { host: "alice", kind: "no-program", error: "no such file" };

test("a host as declared is said to be so, with the number of items looked at", (t) => {
  t.is(checkText([answer({})]), "alice: as declared (12 items)\n");
  t.is(checkStatus([answer({})]), EXIT.ok);
});

test("each drifted item is named with what is wrong, and the status is 2", (t) => {
  t.is(
    checkText([drifted]),
    "alice: 1 of 12 item differs\n  file:/etc/cron.d/twofold: write /etc/cron.d/twofold, now changed\n",
  );
  t.is(checkStatus([drifted]), EXIT.drift);
});

test("a run that is at work on the host is said beside the drift that it may be causing", (t) => {
  const text = checkText([answer({ running: { title: "storage", since: "2026-11-23T04:00:00.000Z" } })]);
  t.regex(text, /a run of storage is changing this host since 2026-11-23T04:00:00\.000Z/);
});

test("a missing host program is drift, since repair brings it back", (t) => {
  t.regex(
    checkText([noProgram]),
    /alice: 1 item differs\n {2}program:host: no such file; 'repair' installs this version/,
  );
  t.is(checkStatus([noProgram]), EXIT.drift);
});

test("fails with 1 when a host can't be reached, even if another one drifted, and reports both", (t) => {
  const text = checkText([drifted, unreachable]);
  t.regex(text, /file:\/etc\/cron\.d\/twofold/);
  t.regex(text, /vault: not checked\n {2}ssh\/unreachable: host vault\n {4}why: x/);
  t.is(checkStatus([drifted, unreachable]), EXIT.failed);
});

test("the answer is the last line, whatever progress stands before it", (t) => {
  t.deepEqual(parseLastLine('drifted: x\n{"a":1}\n'), { a: 1 });
  t.is(parseLastLine("Segmentation fault\n"), undefined);
  t.is(parseLastLine(""), undefined);
});

test("lines of a repair are told apart: reports of what was put back, and progress", (t) => {
  t.deepEqual(parseReport('{"stage":"base","host":"alice","changed":["user:bitcoin"]}'), { changed: ["user:bitcoin"] });
  t.is(parseReport("base: install package btrfs-progs"), undefined);
  t.is(parseReport('{"unrelated":1}'), undefined);
  t.is(parseReport("{broken"), undefined);
});
