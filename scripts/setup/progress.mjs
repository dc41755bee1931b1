/** Steps of set-up, told as they go: number, name, what is being done, how long it took. */

/** @typedef {(line: string) => void} Log */

/**
 * @typedef {object} Steps
 * @property {<T>(name: string, work: (say: Log) => Promise<T>) => Promise<T>} step Runs one step and tells its time.
 */

/**
 * @param {number} total Number of steps.
 * @param {Log} log
 * @returns {Steps}
 */
export function steps(total, log) {
  let number = 0;
  return {
    async step(name, work) {
      number += 1;
      const label = `[${number}/${total}] ${name}`;
      const started = process.hrtime.bigint();
      const seconds = () => (Number(process.hrtime.bigint() - started) / 1e9).toFixed(1);
      log(`${label} …`);
      try {
        const result = await work((line) => log(`      ${line}`));
        log(`${label}: done (${seconds()} s)`);
        return result;
      } catch (error) {
        log(`${label}: failed (${seconds()} s)`);
        throw error;
      }
    },
  };
}

/**
 * Passes on at most one line every `seconds`, so that a talkative program shows that it lives and no more.
 * @param {Log} log @param {number} [seconds]
 * @returns {Log}
 */
export function thinned(log, seconds = 5) {
  let last = Date.now();
  return (line) => {
    if (Date.now() - last < seconds * 1000 || line.trim() === "") return;
    last = Date.now();
    log(line.trim());
  };
}
