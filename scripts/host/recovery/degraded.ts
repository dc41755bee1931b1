/** Degraded mode: declared with a reason and an end, told again and again while it lasts and louder after it. Pure but for its file. */
import type { Degraded } from "../gate/observed.ts";
import { Refusal } from "../stage.ts";

/** The longest that a node may go on with one copy; a longer outage is a new decision. */
const MAX_HOURS = 7 * 24;
/** Between two alarms. */
export const ALARM_MS = 10 * 60_000;

/** A time such as "24h", "90m" or "2d", in milliseconds. @throws {Refusal} */
export function parseDuration(text: string): number {
  const match = /^(\d{1,4})([mhd])$/.exec(text);
  const unit = { m: 60_000, h: 3_600_000, d: 86_400_000 }[match?.[2] ?? ""];
  const duration = Number(match?.[1]) * (unit ?? Number.NaN);
  if (duration > 0 && duration <= MAX_HOURS * 3_600_000) return duration;
  throw new Refusal({
    code: "DEGRADE-DURATION",
    what: "this is no time for which the node may be degraded",
    received: text || "nothing",
    why: "without an end the node would run on one copy until that one dies",
    fix: `give a whole number of minutes, hours or days up to ${MAX_HOURS} hours, e.g. --for 24h`,
  });
}

/** The line for the journal with its syslog priority (sd-daemon(3)), undefined if none is due. */
export function alarm(degraded: Degraded | undefined, now: Date, lastAt: Date | undefined): string | undefined {
  if (degraded === undefined) return undefined;
  if (lastAt !== undefined && now.getTime() - lastAt.getTime() < ALARM_MS) return undefined;
  const without = degraded.subject === "replica" ? "its replica" : "a witness";
  if (now.getTime() < Date.parse(degraded.until))
    return `<2>DEGRADED: the node runs without ${without} since ${degraded.since}, until ${degraded.until}: ${degraded.reason}. End it with ./twofold degrade end`;
  return `<1>DEGRADED MODE IS OVER since ${degraded.until}, and ${without} is not back: the next start will be refused. ./twofold degrade end copies main to the replica and compares`;
}
