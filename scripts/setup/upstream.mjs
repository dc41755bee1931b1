/** Whether Pulumi's own site can be reached. */
import { mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { cacheDirectory } from "./environment.mjs";
import { codeOf } from "./errors.mjs";

export const SITE = "https://get.pulumi.com";
/** A firewall that swallows packets costs this many seconds, once. */
const PROBE_SECONDS = 5;
/** So long a failure is remembered, that not every run pays for it. */
const REMEMBERED_MILLISECONDS = 60 * 60 * 1000;

const marker = () => join(cacheDirectory(), "pulumi-site-unreachable");

/** @param {number} now @param {number | undefined} failedAt Milliseconds of the epoch; undefined: no failure is remembered. */
export function stillRemembered(now, failedAt) {
  return failedAt !== undefined && failedAt <= now && now - failedAt < REMEMBERED_MILLISECONDS;
}

/**
 * @param {(line: string) => void} say
 * @returns {Promise<boolean>}
 */
export async function reachable(say) {
  const failedAt = statSync(marker(), { throwIfNoEntry: false })?.mtimeMs;
  if (stillRemembered(Date.now(), failedAt)) {
    say(`${SITE} could not be reached within the last hour, so it is not asked again (remove ${marker()} to ask now)`);
    return false;
  }
  try {
    await fetch(SITE, { method: "HEAD", redirect: "manual", signal: AbortSignal.timeout(PROBE_SECONDS * 1000) });
    rmSync(marker(), { force: true });
    return true;
  } catch (error) {
    say(`${SITE} can't be reached (${codeOf(error) ?? /** @type {Error} */ (error).name})`);
    mkdirSync(dirname(marker()), { recursive: true });
    writeFileSync(marker(), "");
    return false;
  }
}
