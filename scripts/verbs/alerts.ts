/** `./twofold alerts`: what is wrong by the hosts' own looks, and whether their alert commands arrive. */
import type { AlertsStatus } from "../host/alerts/status.ts";
import type { HostStatus } from "../host/commands/status.ts";
import type { TestReport } from "../host/commands/watch.ts";
import { EXIT } from "../host/contract.ts";
import { type Answer, ask } from "./ask.ts";
import { loadStack } from "./load.ts";
import type { StackChoice } from "./locate.ts";

/** A timer that looks once a minute has missed a few by then. */
const LATE_SECONDS = 300;

/** Lines for a host's part of `status`. Pure. */
export function alertLines({ lookedAt, lookedAgo, alerts, command }: AlertsStatus): string[] {
  const late = lookedAgo === undefined || lookedAgo > LATE_SECONDS;
  const when = lookedAt === undefined ? "since the host was started" : `since ${lookedAt}`;
  return [
    ...(late ? [`alerts: NOBODY HAS LOOKED ${when}; systemctl status twofold-alerts.timer on the host`] : []),
    ...(alerts.length === 0 && !late ? [`alerts: none, ${lookedAgo} s ago`] : []),
    ...alerts.flatMap(({ code, severity, subject, value, since, fix }) => [
      `ALERT ${code} (${severity}), since ${since}`,
      `  ${subject}: ${value}`,
      `  to do: ${fix}`,
    ]),
    ...(command?.failure === undefined
      ? []
      : [
          `THE ALERT COMMAND FAILS since ${command.failure.since}, ${command.untold} events untold: ${command.failure.why}`,
        ]),
  ];
}

/** Exit status 2 if there is an alert, 1 if a host can't be reached. */
export async function showAlerts(options: StackChoice & { json?: true }): Promise<number> {
  const stack = loadStack(options);
  const answers = await Promise.all(
    stack.hosts.map((host) => ask<HostStatus>(host, ["status"], alertsDocuments(stack.documents(host)))),
  );
  const shown = answers.map((answer) =>
    answer.kind === "answer"
      ? { host: answer.host, ...answer.value.alerts }
      : { host: answer.host, error: answer.error },
  );
  process.stdout.write(
    options.json ? `${JSON.stringify({ stack: stack.name, hosts: shown })}\n` : answers.map(hostText).join(""),
  );
  if (answers.some(({ kind }) => kind !== "answer")) return EXIT.failed;
  const any = answers.some((answer) => answer.kind === "answer" && isAlert(answer.value.alerts));
  return any ? EXIT.drift : EXIT.ok;
}

/** The rest of a status takes longer, and asks what may hang. */
const alertsDocuments = <D extends { stage: string }>(documents: readonly D[]): D[] =>
  documents.filter(({ stage }) => stage === "alerts");

const isAlert = (alerts: AlertsStatus | undefined): boolean =>
  alerts !== undefined && (alerts.alerts.length > 0 || alerts.command?.failure !== undefined);

function hostText(answer: Answer<HostStatus>): string {
  const lines =
    answer.kind !== "answer"
      ? [`no answer: ${answer.error}`]
      : answer.value.alerts === undefined
        ? ["it has no alerts stage yet: run pulumi up"]
        : alertLines(answer.value.alerts);
  return `${answer.host}\n${lines.map((line) => `  ${line.replaceAll("\n", "\n  ")}\n`).join("")}`;
}

/** Calls the alert command of every host with a message that says that it is a test. */
export async function testAlerts(options: StackChoice & { json?: true }): Promise<number> {
  const stack = loadStack(options);
  const answers = await Promise.all(stack.hosts.map((host) => ask<TestReport>(host, ["watch", "--test"], null)));
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ stack: stack.name, hosts: answers.map(toJson) })}\n`
      : answers.map((answer) => `${answer.host}: ${testText(answer)}\n`).join(""),
  );
  const arrived = answers.every((answer) => answer.kind === "answer" && answer.value.error === undefined);
  return arrived ? EXIT.ok : EXIT.failed;
}

const toJson = (answer: Answer<TestReport>): object =>
  answer.kind === "answer" ? answer.value : { host: answer.host, error: answer.error };

/** Pure. */
export function testText(answer: Answer<TestReport>): string {
  if (answer.kind !== "answer") return `no answer: ${answer.error}`;
  const { command, error } = answer.value;
  if (command === undefined) return "no alert command is declared; the journal and ./twofold status have every alert";
  return error === undefined ? `${command} was called, and took it; see that it arrived` : `FAILED: ${error}`;
}
