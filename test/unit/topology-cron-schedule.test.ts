import test from "ava";
import fc from "fast-check";
import { scheduleProblem } from "../../components/topology/cron-schedule.ts";

const NAMES = [
  ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
  ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
] as const;
const FIELDS = [
  { first: 0, last: 59, names: [] },
  { first: 0, last: 23, names: [] },
  { first: 1, last: 31, names: [] },
  { first: 1, last: 12, names: NAMES[0] },
  { first: 0, last: 7, names: NAMES[1] },
] as const;
type Field = (typeof FIELDS)[number];

/** A number as it may be written: by its name in any case, with a zero in front. */
const written = (number: number, { first, names }: Field) =>
  fc.constantFrom(
    String(number),
    ...(number < 10 ? [`0${number}`] : []),
    ...[names[number - first]].flatMap((name) => (name === undefined ? [] : [name, name.toUpperCase()])),
  );

/** One item of crontab(5)'s grammar. */
const item = (field: Field): fc.Arbitrary<string> => {
  const within = fc.integer({ min: field.first, max: field.last });
  const single = within.chain((number) => written(number, field));
  const ranges = fc
    .tuple(within, within)
    .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const)
    .chain(([begin, end]) =>
      fc.tuple(
        fc.tuple(written(begin, field), written(end, field)).map((ends) => ends.join("-")),
        fc.integer({ min: 1, max: Math.max(1, end - begin) }),
      ),
    );
  const all = fc.tuple(fc.constant("*"), fc.integer({ min: 1, max: field.last - field.first }));
  const stepped = fc.oneof(ranges, all);
  return fc.oneof(
    single,
    stepped.map(([range]) => range),
    stepped.map(([range, step]) => `${range}/${step}`),
  );
};

const list = (field: Field) => fc.array(item(field), { minLength: 1, maxLength: 4 }).map((items) => items.join(","));

/** Five lists; the days of the month are left open, since not every month has each. */
const schedules = fc.tuple(list(FIELDS[0]), list(FIELDS[1]), fc.constant("*"), list(FIELDS[3]), list(FIELDS[4]));

test("whatever crontab(5) allows is taken: numbers, names, ranges, lists and steps", (t) => {
  fc.assert(
    fc.property(schedules, (fields) => {
      t.is(scheduleProblem(fields.join(" ")), undefined, fields.join(" "));
    }),
  );
});

test("a schedule with one item in it that cron cannot read, or reads otherwise, is refused by that item", (t) => {
  /** What is never an item of the field, whichever of its numbers stands in it. */
  const wrong = ({ first, last, names }: Field) => {
    const within = fc.integer({ min: first, max: last }).map(String);
    const outside = fc.oneof(fc.integer({ min: last + 1, max: 999 }), fc.integer({ max: -1 }));
    const foreign = names.length > 0 ? ["sunday", "january", "mo", "xyz"] : ["sun", "jan", "mon"];
    return fc.oneof(
      fc.constantFrom("", "?", "L", "**", "*-5", "1-2-3", "*/2/3", "1-", "-1", "*/", "*/0", "*/x", ...foreign),
      outside.map(String),
      within.map((number) => `${number}/2`),
      within.map((number) => `${number}~${last}`),
      within.map((number) => `${number}*`),
      within.map((number) => `*${number}`),
      fc.constant(`${last}-${first}`),
      fc.constant(`*/${last + 1}`),
      outside.map((number) => `${first}-${number}`),
    );
  };
  fc.assert(
    fc.property(
      schedules,
      fc.integer({ min: 0, max: 4 }).chain((index) => fc.tuple(fc.constant(index), wrong(FIELDS[index] ?? FIELDS[0]))),
      ([minute, hour, day, month, weekday], [index, slip]) => {
        const fields = [minute, hour, day, month, weekday];
        fields[index] = `${fields[index]},${slip}`;
        const problem = scheduleProblem(fields.join(" "));
        t.truthy(problem, fields.join(" "));
        t.true(problem?.what.includes("'"), `the item is named: ${problem?.what}`);
      },
    ),
  );
});

for (const [schedule, what, fix] of [
  ["0 25 * * *", /^'25' is no hour/, /0 to 23/],
  ["0 0 * * sunday", /^'sunday' is no day of the week/, /a name such as sun/],
  ["5/15 * * * *", /^'5\/15' is no minute/, /a step after \* or a range/],
  ["0 0 * * fri-sun", /'fri-sun' ends before it begins/, /7 for a Sunday/],
  ["0 20-4 * * *", /'20-4' ends before it begins/, /two ranges/],
  ["*/90 * * * *", /'\*\/90' is longer than the range, so cron takes the minute 0 alone/, /just 0/],
  ["0 0 31 2,apr *", /that day is in none of the months/, /a day that one of the months has/],
  ["0 0 31 2,apr */7", /that day is in none of the months/, /a day/],
  ["@daily", /no schedule/, /five cron fields/],
  ["0 0 * *", /no schedule/, /five cron fields/],
  [" 0 0 * * *", /no schedule/, /five cron fields/],
  ["0 0 * * * *", /no schedule/, /five cron fields/],
] as const) {
  test(`refuses the schedule '${schedule}'`, (t) => {
    const problem = scheduleProblem(schedule);
    t.regex(problem?.what ?? "", what);
    t.regex(problem?.fix ?? "", fix);
    t.true((problem?.why.length ?? 0) > 8);
  });
}

test("a day that no month of the list has is taken beside a day of the week, by which cron comes too", (t) => {
  t.is(scheduleProblem("0 0 31 2 mon"), undefined);
  t.is(scheduleProblem("0 0 29 2 *"), undefined);
  t.is(scheduleProblem("0 0 31 * *"), undefined);
});
