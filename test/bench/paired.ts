/** Comparing things in turns, so that a machine that is busy with something else slows each of them alike. */

export interface Subject {
  name: string;
  /** One round; returns what was measured, in the unit of the comparison. */
  measure(): Promise<number>;
}

/** What was measured of each subject, by its name; entry N of each list belongs to round N. */
export type Rounds = Record<string, number[]>;

/** Measures every subject once a round, each round beginning with another one. */
export async function inTurns(subjects: readonly Subject[], rounds: number): Promise<Rounds> {
  const measured: Rounds = Object.fromEntries(subjects.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    const first = round % subjects.length;
    for (const { name, measure } of [...subjects.slice(first), ...subjects.slice(0, first)]) {
      measured[name]?.push(await measure());
    }
  }
  return measured;
}

/** Seconds that `work` takes. */
export async function seconds(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

/** NaN of an empty list. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (index: number) => sorted[index] ?? Number.NaN;
  const half = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? at(half) : (at(half - 1) + at(half)) / 2;
}

/** The median of the rounds' own ratios: what both met in one round cancels out. */
export function ratio(measured: Rounds, name: string, to: string): number {
  const base = measured[to] ?? [];
  return median((measured[name] ?? []).map((value, round) => value / (base[round] ?? Number.NaN)));
}

/** One line a subject: median, lowest and highest, and its ratio to `to`. */
export function table(measured: Rounds, unit: string, to: string): string {
  const width = Math.max(...Object.keys(measured).map((name) => name.length));
  const number = (value: number) => value.toFixed(value < 100 ? 2 : 0).padStart(8);
  return Object.entries(measured)
    .map(([name, values]) => {
      const range = `${number(Math.min(...values))} to ${number(Math.max(...values)).trimStart()}`;
      return `${name.padEnd(width)} ${number(median(values))} ${unit}   ${range}   × ${ratio(measured, name, to).toFixed(2)}`;
    })
    .join("\n");
}
