/**
 * How what is seen becomes what is told: raised once it has lasted, told again while it lasts, told once to be over. Pure.
 *
 * The journal has every event. The operator's command is called at once, then not for `repeatMs` about the same alert, however often that
 * comes and goes, and once when it is over. What could not be handed to the command stays in the outbox until it can.
 */
import { ALERT_KINDS, type AlertCode, type Condition, type Seen } from "./alert.ts";

/** Times are ISO 8601. */
export interface Alert extends Condition {
  /** The look that sees it. */
  look: string;
  /** First seen. */
  since: string;
  /** Absent while it has not lasted long enough to be told. */
  raised?: string;
  /** Last written to the journal. */
  said?: string;
  /** Last put into the outbox as raised, or raised again. */
  sent?: string;
  /** The operator's last word of it is that it lasts. */
  open?: true;
  /** Not seen any more; kept while it could come back within the time of one call. */
  over?: string;
}

export interface AlertEvent {
  kind: "raised" | "again" | "over";
  at: string;
  code: AlertCode;
  subject: string;
  value: string;
  since: string;
  fix?: string;
}

export interface CommandFailure {
  since: string;
  why: string;
}

/** Something that happened and has no end of its own. */
export interface Happening {
  at: string;
  message: string;
}

export interface History {
  alerts: Alert[];
  /** Waits for a standby that were cancelled within the last day, as PostgreSQL's log has them. */
  cancelled?: Happening[];
  /** What the operator's command was not told yet. */
  outbox: AlertEvent[];
  /** The operator's command fails. */
  failure?: CommandFailure;
}

export const NO_HISTORY: History = { alerts: [], outbox: [] };

export interface Policy {
  /** There is a command to be called. */
  command: boolean;
  repeatMs: number;
}

/** A command that fails for long must not make the state grow without end; the newest events matter. */
const OUTBOX_LIMIT = 100;
/** The look of what this mechanism knows of itself. */
const OWN_LOOK = "command";

export const nameOf = ({ code, subject }: Pick<Condition, "code" | "subject">) => `${code} ${subject}`;

/** Alerts that last. */
export const lasting = ({ alerts }: History): Alert[] =>
  alerts.filter(({ raised, over }) => raised !== undefined && over === undefined);

/** @returns the next history, and what the journal is told */
export function advance(
  history: History,
  seen: readonly Seen[],
  now: Date,
  policy: Policy,
): { history: History; events: AlertEvent[] } {
  const at = now.toISOString();
  // A time that is still to come was written by a clock that was wrong: it must not silence anything until then.
  const elapsed = (since: string | undefined) => {
    const ms = since === undefined ? Number.POSITIVE_INFINITY : now.getTime() - Date.parse(since);
    return ms < 0 ? Number.POSITIVE_INFINITY : ms;
  };
  const failure = policy.command ? history.failure : undefined;
  const present = new Map(withOwn(seen, failure).flatMap(conditionsOf));
  const unknown = new Set(seen.filter((each) => "failed" in each).map(({ look }) => look));
  const events: AlertEvent[] = [];
  const due: AlertEvent[] = [];
  const alerts: Alert[] = [];

  for (const alert of [...history.alerts, ...newAlerts(history.alerts, present, at)]) {
    const condition = present.get(nameOf(alert));
    present.delete(nameOf(alert));
    if (condition === undefined && unknown.has(alert.look)) {
      alerts.push(alert);
      continue;
    }
    if (condition === undefined) {
      const ended = end(alert);
      if (ended !== undefined) alerts.push(ended);
      continue;
    }
    alerts.push(goOn(alert, condition));
  }
  const outbox = policy.command ? [...history.outbox, ...due].slice(-OUTBOX_LIMIT) : [];
  const { cancelled } = history;
  return {
    history: { alerts, outbox, ...(cancelled ? { cancelled } : {}), ...(failure ? { failure } : {}) },
    events,
  };

  function event(kind: AlertEvent["kind"], alert: Alert): AlertEvent {
    const { code, subject, value, since, fix } = alert;
    return { kind, at, code, subject, value, since, ...(fix === undefined ? {} : { fix }) };
  }

  function goOn(before: Alert, condition: Condition & { look: string }): Alert {
    const back = before.over !== undefined;
    const alert: Alert = { ...rest(before), ...condition, since: back ? at : before.since };
    if (!back && before.raised !== undefined) alert.raised = before.raised;
    if (alert.raised === undefined) {
      if (elapsed(alert.since) < ALERT_KINDS[alert.code].afterMs) return alert;
      alert.raised = at;
      alert.said = at;
      events.push(event("raised", alert));
    } else if (elapsed(alert.said) >= policy.repeatMs) {
      alert.said = at;
      events.push(event("again", alert));
    }
    // The command can't be told that it fails.
    if (!policy.command || alert.look === OWN_LOOK || elapsed(alert.sent) < policy.repeatMs) return alert;
    // Of what it was not told yet it need not be told again.
    const waiting = history.outbox.findLast((each) => nameOf(each) === nameOf(alert));
    if (waiting === undefined || waiting.kind === "over") due.push(event(alert.open ? "again" : "raised", alert));
    return { ...alert, sent: at, open: true };
  }

  function end(alert: Alert): Alert | undefined {
    const { open, ...kept } = alert;
    if (alert.raised !== undefined && alert.over === undefined) {
      events.push(event("over", alert));
      if (open) due.push(event("over", alert));
    }
    return elapsed(alert.sent) < policy.repeatMs ? { ...kept, over: alert.over ?? at } : undefined;
  }
}

/** What outlasts a condition's coming and going. */
function rest({ look, said, sent, open, since, code, subject, value }: Alert): Alert {
  return {
    ...{ look, code, subject, value, since },
    ...(said === undefined ? {} : { said }),
    ...(sent === undefined ? {} : { sent }),
    ...(open === undefined ? {} : { open }),
  };
}

const withOwn = (seen: readonly Seen[], failure: CommandFailure | undefined): Seen[] => [
  ...seen,
  {
    look: OWN_LOOK,
    conditions:
      failure === undefined ? [] : [{ code: "ALERT_COMMAND", subject: "the alert command", value: failure.why }],
  },
];

function conditionsOf(seen: Seen): [string, Condition & { look: string }][] {
  const { look } = seen;
  const conditions: Condition[] =
    "failed" in seen ? [{ code: "LOOK_FAILED", subject: look, value: seen.failed }] : seen.conditions;
  // A look that failed is a condition that can be seen, so it belongs to no look that can fail.
  return conditions.map((condition) => [nameOf(condition), { ...condition, look: "failed" in seen ? "looks" : look }]);
}

function newAlerts(
  known: readonly Alert[],
  present: ReadonlyMap<string, Condition & { look: string }>,
  at: string,
): Alert[] {
  const names = new Set(known.map(nameOf));
  return [...present.values()]
    .filter((condition) => !names.has(nameOf(condition)))
    .map((condition) => ({ ...condition, since: at }));
}

/** After the command was called with the outbox. */
export function called(history: History, outcome: { ok: true } | { ok: false; why: string }, now: Date): History {
  const { failure, ...kept } = history;
  if (outcome.ok) return { ...kept, outbox: [] };
  return { ...kept, failure: { since: failure?.since ?? now.toISOString(), why: outcome.why } };
}
