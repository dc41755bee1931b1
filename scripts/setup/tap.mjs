/** Results of a test run, from the Test Anything Protocol that ava speaks. */

/** @typedef {{ passed: number, failed: number, skipped: number }} Counts */

/**
 * @param {Counts} counts Counted on. @param {string} line One line of TAP.
 * @returns {boolean} Whether the line tells a result.
 */
export function countLine(counts, line) {
  const [, not, directive] = /^(not )?ok \d+(?:.*# (SKIP|TODO)\b)?/.exec(line) ?? [];
  if (!/^(not )?ok \d+/.test(line)) return false;
  // A test that is yet to be written is "not ok # TODO", and no failure (testanything.org).
  if (directive) counts.skipped += 1;
  else if (not) counts.failed += 1;
  else counts.passed += 1;
  return true;
}

/** Lines of a failure that are told again; the whole of it stands where it happened. */
const TOLD_AGAIN = 30;

/**
 * Takes the failed results out of a run's lines, each with the diagnostics under it, to be told again at the end: a
 * run's tail is what is read, and often all that is kept of it.
 */
export function failureReader() {
  /** @type {string[][]} */
  const failures = [];
  /** @type {string[] | undefined} */
  let open;
  return {
    /** @param {string} line One line of TAP. */
    read(line) {
      if (open && /^\s/.test(line)) {
        if (open.length < TOLD_AGAIN) open.push(line);
        return;
      }
      open = /^not ok \d+(?!.*# (SKIP|TODO)\b)/.test(line) ? [line] : undefined;
      if (open) failures.push(open);
    },
    /** @returns {string[]} */
    told: () => failures.flat(),
  };
}

/** @param {Counts} counts */
export function summary({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}
