import test from "ava";
import type { AlertsStatus } from "../../scripts/host/alerts/status.ts";
import { alertLines, testText } from "../../scripts/verbs/alerts.ts";

const quiet: AlertsStatus = {
  lookedAt: "2026-11-23T12:00:00.000Z",
  lookedAgo: 12,
  alerts: [],
  command: { path: "/usr/local/bin/tell", untold: 0 },
};

test("a host without alerts says when it looked", (t) => {
  t.deepEqual(alertLines(quiet), ["alerts: none, 12 s ago"]);
});

test("an alert is told with its value, since when, and what to do", (t) => {
  const alert = {
    code: "DEVICE_MISSING",
    severity: "critical",
    subject: "device 2",
    value: "gone",
    since: "2026-11-23T11:00:00.000Z",
    why: "w",
    fix: "replace it",
  } as const;
  t.deepEqual(alertLines({ ...quiet, alerts: [alert] }), [
    "ALERT DEVICE_MISSING (critical), since 2026-11-23T11:00:00.000Z",
    "  device 2: gone",
    "  to do: replace it",
  ]);
});

test("a host on which nobody looks, and a command that fails, are told in capitals", (t) => {
  t.regex(alertLines({ ...quiet, lookedAgo: 301 })[0] ?? "", /NOBODY HAS LOOKED since 2026-11-23T12/);
  t.regex(
    alertLines({ ...quiet, lookedAt: undefined, lookedAgo: undefined })[0] ?? "",
    /NOBODY HAS LOOKED since the host/,
  );
  const failure = { since: "2026-11-23T11:00:00.000Z", why: "/usr/local/bin/tell: it ended with status 1" };
  const lines = alertLines({ ...quiet, command: { path: "/usr/local/bin/tell", untold: 3, failure } });
  t.regex(lines.at(-1) ?? "", /THE ALERT COMMAND FAILS since 2026-11-23T11.*3 events untold: .*status 1/);
});

test("a test of the command says whether it was taken", (t) => {
  const answer = (value: object) =>
    testText({ host: "alice", kind: "answer", status: 0, value: { host: "alice", ...value } as never });
  t.regex(answer({ command: "/bin/tell" }), /\/bin\/tell was called, and took it/);
  t.regex(answer({ command: "/bin/tell", error: "status 1" }), /FAILED: status 1/);
  t.regex(answer({}), /no alert command is declared/);
  t.regex(testText({ host: "alice", kind: "failed", error: "x" }), /no answer: x/);
});
