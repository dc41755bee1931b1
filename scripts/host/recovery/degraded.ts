/** Degraded mode is declared with a reason and an end; that it lasts, and that its end is near or over, are alerts (alerts/looks/node.ts). Pure. */
import { Refusal } from "../stage.ts";

/** The longest that a node may go on with one copy; a longer outage is a new decision. */
const MAX_HOURS = 7 * 24;

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
