/** Waiting for a state rather than for a time. */
import { setTimeout as delay } from "node:timers/promises";

/**
 * @param {() => boolean | Promise<boolean>} condition @param {number} seconds
 * @returns {Promise<boolean>} False if the deadline passed first.
 */
export async function waitUntil(condition, seconds) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    if (await condition()) return true;
    if (Date.now() >= deadline) return false;
    await delay(100);
  }
}
