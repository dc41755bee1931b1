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

/** @param {Counts} counts */
export function summary({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}
