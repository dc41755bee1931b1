/**
 * What Pulumi reads in a plain (unquoted) scalar of a stack's file. It reads YAML with Go's yaml.v3, which keeps much of YAML 1.1:
 * 0660 is octal there, 1_000 a number and 2026-11-20 a day. The verbs read YAML 1.2.
 */

/** A day that Pulumi has read from a plain scalar, as it hands it to its program. */
export const PULUMI_DAY = /^\d{4}-\d{2}-\d{2} 00:00:00 \+0000 UTC$/;

const CONSTANTS = new Map<string, unknown>([
  ...["", "~", "null", "Null", "NULL"].map((text) => [text, null] as const),
  ...["true", "True", "TRUE"].map((text) => [text, true] as const),
  ...["false", "False", "FALSE"].map((text) => [text, false] as const),
]);

/** Digits of each base that strconv.ParseInt(…, 0, …) knows by its prefix, after '_' was taken out; JavaScript has no 0660. */
const INTEGER = /^([-+]?)(0x[0-9a-f]+|0b[01]+|0o[0-7]+|0[0-7]+|0|[1-9][0-9]*)$/i;
const FLOAT = /^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$/;

/**
 * The scalar's value in Pulumi's program, by yaml.v3's resolve.go (v3.0.1). Undefined where the program would not get one that could
 * be compared: a merge key, an infinite number, a time of day, which Pulumi writes in the time zone of the machine.
 */
export function pulumiScalar(source: string): unknown {
  if (CONSTANTS.has(source)) return CONSTANTS.get(source);
  if (source === "<<" || /^([-+]?\.inf|\.nan)$/i.test(source)) return undefined;
  if (!/^[-+.0-9]/.test(source)) return source;
  if (/^\d{4}-\d/.test(source)) return dayOf(source);
  const plain = source.replaceAll("_", "");
  const [, sign, digits] = INTEGER.exec(plain) ?? [];
  if (digits !== undefined) {
    const octal = /^0[0-7]/.test(digits) ? `0o${digits.slice(1)}` : digits;
    return finite((sign === "-" ? -1 : 1) * Number(octal));
  }
  return FLOAT.test(plain) ? finite(Number(plain)) : source;
}

/** Pulumi writes every number once more before it reads it, and -0 becomes 0 by that. */
const finite = (number: number): number | undefined => (Number.isFinite(number) ? number + 0 : undefined);

const TIME = /^[-\d]+([Tt][\d:]+([.,]\d+)?(Z|[-+]\d{2}:\d{2})| [\d:]+([.,]\d+)?)$/;

/** Go's time.Time as text, for a day that exists; anything else that begins like one is a text or a time of day. */
function dayOf(source: string): string | undefined {
  const [, year = "", month = "", day = ""] = /^(\d{4})-(\d{1,2})-(\d{1,2})$/.exec(source) ?? [];
  if (year === "") return TIME.test(source) ? undefined : source;
  const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
  const exists = date.getUTCMonth() === Number(month) - 1 && date.getUTCDate() === Number(day);
  return exists ? `${year}-${month.padStart(2, "0")}-${day.padStart(2, "0")} 00:00:00 +0000 UTC` : source;
}
