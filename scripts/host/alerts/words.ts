/** Alerts in an operator's words. Pure. */
import { ALERT_KINDS } from "./alert.ts";
import type { AlertEvent } from "./history.ts";

const fixOf = ({ code, fix }: Pick<AlertEvent, "code" | "fix">) => fix ?? ALERT_KINDS[code].fix;

/** What an event says, on one line each: what, value, why it matters, what to do. */
export function eventLines(host: string, event: AlertEvent): string[] {
  const { code, subject, value, since } = event;
  if (event.kind === "over") return [`${code} on ${host} is over: ${subject}; it had lasted since ${since}`];
  const again = event.kind === "again" ? ` still, since ${since}` : "";
  return [
    `${code} on ${host}${again}: ${subject}: ${value}`,
    `  why: ${ALERT_KINDS[code].why}`,
    `  to do: ${fixOf(event)}`,
  ];
}

/** An event as one line for the journal, with its syslog priority (sd-daemon(3)): critical, warning, notice. */
export function journalLine(host: string, event: AlertEvent): string {
  const priority = event.kind === "over" ? 5 : ALERT_KINDS[event.code].severity === "critical" ? 2 : 4;
  return `<${priority}>${eventLines(host, event)
    .map((line) => line.trim())
    .join("; ")
    .replaceAll("\n", " ")}`;
}

const WORST = ["critical", "warning"] as const;

/** One line for a subject or a title: the worst event, and how many there are beside it. */
export function summaryOf(host: string, events: readonly AlertEvent[]): string {
  const rank = (event: AlertEvent) =>
    event.kind === "over" ? WORST.length : WORST.indexOf(ALERT_KINDS[event.code].severity);
  const [first, ...others] = [...events].sort((a, b) => rank(a) - rank(b));
  if (first === undefined) return `${host}: nothing`;
  const what = `${first.code}${first.kind === "over" ? " is over" : ""}`;
  return `${host}: ${what}${others.length === 0 ? "" : `, and ${others.length} more`}`;
}

/** What the command reads on its standard input. */
export function messageOf(host: string, events: readonly AlertEvent[]): string {
  return `${events.map((event) => eventLines(host, event).join("\n")).join("\n\n")}\n`;
}
