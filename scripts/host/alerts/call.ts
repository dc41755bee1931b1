/**
 * The operator's own alert command. It runs in a transient unit as an account that owns nothing, and all that it starts ends with it.
 * Arguments: none. Standard input: the text of what there is to tell. Environment: TWOFOLD_HOST, TWOFOLD_NODE, TWOFOLD_SUMMARY (one line),
 * TWOFOLD_ALERTS (the same as JSON).
 */
import { ALERTS, type AlertsDocument } from "../contract.ts";
import { run } from "../process.ts";
import type { AlertEvent } from "./history.ts";
import { messageOf, summaryOf } from "./words.ts";

/** Longer than a mail server takes to say no, shorter than the time between two looks. */
const TIMEOUT_SECONDS = 30;
/** Of one variable (execve(2), MAX_ARG_STRLEN is 128 KiB). */
const JSON_LIMIT = 100_000;

/** No sandbox beyond the account: mail programs are set-uid or set-gid and write to a spool, and no mount namespace is to fail on a bad day. */
const UNIT_PROPERTIES = [
  `User=${ALERTS.account}`,
  `Group=${ALERTS.account}`,
  `RuntimeMaxSec=${TIMEOUT_SECONDS}`,
  "TimeoutStopSec=2",
  "LimitCORE=0",
].flatMap((property) => ["--property", property]);

/** As many events as fit, the oldest first. Pure. */
export function alertsJson(events: readonly AlertEvent[], limit = JSON_LIMIT): string {
  for (let count = events.length; ; count--) {
    const text = JSON.stringify(events.slice(0, count));
    if (Buffer.byteLength(text) <= limit || count === 0) return text;
  }
}

/** Hands events to the command. @returns why it did not take them, undefined if it did */
export async function callCommand(
  { host, node }: Pick<AlertsDocument, "host" | "node">,
  command: string,
  events: readonly AlertEvent[],
): Promise<string | undefined> {
  const variables = {
    TWOFOLD_HOST: host,
    TWOFOLD_NODE: node,
    TWOFOLD_SUMMARY: summaryOf(host, events),
    TWOFOLD_ALERTS: alertsJson(events),
  };
  const began = Date.now();
  const ran = await run(
    "systemd-run",
    [
      ...["--quiet", "--collect", "--wait", "--pipe", "--service-type=exec"],
      ...["--description", "twofold: the operator's alert command", ...UNIT_PROPERTIES],
      ...Object.entries(variables).map(([name, value]) => `--setenv=${name}=${value}`),
      ...["--", command],
    ],
    { input: messageOf(host, events) },
  );
  if (ran.status === 0) return undefined;
  const said = (ran.stderr.trim() || ran.stdout.trim()).split("\n").slice(-3).join("; ").slice(0, 500);
  const how =
    Date.now() - began >= TIMEOUT_SECONDS * 1000
      ? `it was ended after ${TIMEOUT_SECONDS} s`
      : `it ended with status ${ran.status}`;
  return `${command}: ${how}${said === "" ? "" : `: ${said}`}`;
}
