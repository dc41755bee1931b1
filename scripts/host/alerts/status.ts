/** A host's alerts, for `status`. */
import type { AlertsDocument } from "../contract.ts";
import { ALERT_KINDS, type AlertCode, type Severity } from "./alert.ts";
import { type CommandFailure, lasting } from "./history.ts";
import { lastLook, readHistory } from "./store.ts";

export interface AlertsStatus {
  /** ISO 8601; undefined if nobody has looked since the host was started. */
  lookedAt: string | undefined;
  /** Seconds since then, by the host's own clock. */
  lookedAgo: number | undefined;
  /** Alerts that last, worst first. */
  alerts: ActiveAlert[];
  /** The operator's command. */
  command: { path: string; failure?: CommandFailure; untold: number } | undefined;
}

export interface ActiveAlert {
  code: AlertCode;
  severity: Severity;
  subject: string;
  value: string;
  /** ISO 8601: first seen. */
  since: string;
  why: string;
  fix: string;
}

export async function readAlertsStatus({ command }: Pick<AlertsDocument, "command">): Promise<AlertsStatus> {
  const [{ history }, look] = await Promise.all([readHistory(), lastLook()]);
  const alerts = lasting(history).map(({ code, subject, value, since, fix }): ActiveAlert => {
    const kind = ALERT_KINDS[code];
    return { code, severity: kind.severity, subject, value, since, why: kind.why, fix: fix ?? kind.fix };
  });
  return {
    lookedAt: look?.at.toISOString(),
    lookedAgo: look && Math.max(0, Math.round((Date.now() - look.at.getTime()) / 1000)),
    alerts: alerts.sort((a, b) => (a.severity < b.severity ? -1 : a.severity > b.severity ? 1 : 0)),
    command:
      command === undefined
        ? undefined
        : {
            path: command,
            untold: history.outbox.length,
            ...(history.failure === undefined ? {} : { failure: history.failure }),
          },
  };
}
