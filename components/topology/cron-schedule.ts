/**
 * Cron schedules as Debian's cron takes them (crontab(5); get_list in cron 3.0pl1's entry.c). One entry that cron cannot read makes it
 * drop the whole file of entries, so nothing may pass here that cron refuses. What cron takes and does something else with than
 * what is written is refused as well: it ignores what stands behind a number ("0~30"), and never runs a range that ends before it begins.
 */

interface Field {
  noun: string;
  first: number;
  last: number;
  /** Names in the order of their numbers, from `first` on; cron takes them in lists and ranges too. */
  names?: readonly string[];
}

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const WEEKDAY: Field = { noun: "day of the week", first: 0, last: 7, names: WEEKDAYS };
const FIELDS: readonly Field[] = [
  { noun: "minute", first: 0, last: 59 },
  { noun: "hour", first: 0, last: 23 },
  { noun: "day of the month", first: 1, last: 31 },
  { noun: "month", first: 1, last: 12, names: MONTHS },
  WEEKDAY,
];

/** The most days that each month has. */
const DAYS_OF_MONTH = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** What is wrong with a schedule, and what to write instead. */
export interface ScheduleProblem {
  what: string;
  why: string;
  fix: string;
}

const DROPPED = "for one entry that it cannot read cron drops the whole file: no balance, scrub or device statistics";
const OTHERWISE = "cron takes it and says nothing, and the work is not done when it should be";

/** @returns Nothing if Debian's cron runs the schedule, and as it is written. */
export function scheduleProblem(schedule: string): ScheduleProblem | undefined {
  const texts = schedule.split(/ +/);
  if (texts.length !== FIELDS.length) {
    return { what: "it is no schedule", why: DROPPED, fix: "five cron fields, e.g. '0 0 * * 0' (crontab(5))" };
  }
  const chosen: number[][] = [];
  for (const [index, field] of FIELDS.entries()) {
    const values = valuesOf(texts[index] ?? "", field);
    if (!Array.isArray(values)) return values;
    chosen.push(values);
  }
  const [, , days = [], months = []] = chosen;
  // A day of the week beside a day of the month is another way for the schedule to come (crontab(5), "Note").
  const byWeekday = !texts[2]?.startsWith("*") && !texts[4]?.startsWith("*");
  if (byWeekday || months.some((month) => days.some((day) => day <= (DAYS_OF_MONTH[month - 1] ?? 0)))) return undefined;
  return { what: "that day is in none of the months", why: OTHERWISE, fix: "a day that one of the months has" };
}

/** The numbers that a field stands for. */
function valuesOf(text: string, field: Field): number[] | ScheduleProblem {
  const values: number[] = [];
  for (const item of text.split(",")) {
    const found = itemValues(item, field);
    if (!Array.isArray(found)) return found;
    values.push(...found);
  }
  return values;
}

/** One item of a list: *, a value or a range, and a step after one that is no single value. */
function itemValues(item: string, field: Field): number[] | ScheduleProblem {
  const { noun, first, last } = field;
  const [, range = "", step] = /^([^/]*)(?:\/(\d{1,2}))?$/.exec(item) ?? [];
  const [from = "", to, ...rest] = range === "*" ? [String(first), String(last)] : range.split("-");
  const ends = [from, to ?? from].map((end) => numberOf(end, field));
  const [begin, end] = ends;
  if (begin === undefined || end === undefined || rest.length > 0 || (step !== undefined && to === undefined)) {
    return { what: `'${item}' is no ${noun} for cron`, why: DROPPED, fix: `for the ${noun} ${formsOf(field)}` };
  }
  if (begin > end) {
    return {
      what: `the range '${range}' ends before it begins, and cron never runs it`,
      why: OTHERWISE,
      fix: `for the ${noun} a list${field === WEEKDAY ? ", or 7 for a Sunday at the end of a range" : " of two ranges"}`,
    };
  }
  const width = Number(step ?? 1);
  const widest = Math.max(1, end - begin);
  if (width === 0) return { what: `the step in '${item}' is 0`, why: DROPPED, fix: `a step from 1 to ${widest}` };
  if (width > widest) {
    return {
      what: `the step in '${item}' is longer than the range, so cron takes the ${noun} ${begin} alone`,
      why: OTHERWISE,
      fix: `for the ${noun} a step from 1 to ${widest}, or just ${begin}`,
    };
  }
  return Array.from({ length: Math.floor((end - begin) / width) + 1 }, (_, index) => begin + index * width);
}

function numberOf(text: string, { first, last, names }: Field): number | undefined {
  const name = names?.indexOf(text.toLowerCase()) ?? -1;
  if (name >= 0) return first + name;
  const number = /^\d{1,2}$/.test(text) ? Number(text) : Number.NaN;
  return number >= first && number <= last ? number : undefined;
}

function formsOf({ first, last, names }: Field): string {
  const named = names === undefined ? "" : ` or a name such as ${names[0]}`;
  return `* or a number from ${first} to ${last}${named}, ranges and lists of these (1-3,5), and a step after * or a range (*/2): crontab(5)`;
}
