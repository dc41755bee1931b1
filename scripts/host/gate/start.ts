/** The gate before a start: asks until it may start, must not, or has waited long enough. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { lightningdConfFiles } from "../../../templates/lightningd-conf.ts";
import { EXIT, hasSqliteWallet, LIGHTNINGD, type LightningdDocument } from "../contract.ts";
import { canonicalJson } from "../json.ts";
import { readText } from "../read.ts";
import { bootSeconds, nextStart, noteStart, readStarts } from "./back-off.ts";
import { removeScratch } from "./copy.ts";
import { type Decision, decide } from "./decide.ts";
import { createObserver } from "./observe.ts";
import type { Observed } from "./observed.ts";
import { describeDecision, describeObserved } from "./report.ts";
import { readGateDocument } from "./state.ts";

const POLL_MS = 1000;
const PROGRESS_MS = 5000;
/** How long one run of the gate waits for a host. After it systemd asks again, ever more slowly, and does not give up. */
const WAIT_MS = 10 * 60_000;
/**
 * The same for a mount, which this process can never see: in the unit's own mount namespace a path of ReadWritePaths= is a mount
 * already, and one that the host makes later is put beneath it. A new process has a new namespace.
 */
const WAIT_FOR_MOUNT_MS = 10_000;

/** What the last gate decided, for `status`. */
export const GATE_RECORD = join(LIGHTNINGD.runtimeDirectory, "gate.json");

export interface Timing {
  waitMs: number;
  mountMs: number;
  pollMs: number;
}

const TIMING: Timing = { waitMs: WAIT_MS, mountMs: WAIT_FOR_MOUNT_MS, pollMs: POLL_MS };
/** A primary that moves is back within seconds, and one question to it is a connection and a few rows. */
const CLUSTER_TIMING: Timing = { ...TIMING, pollMs: 200 };

/** The config to start with and the primary that was checked, in a cluster; or the exit status to end with. */
export type Outcome = { config: string; server?: string } | { status: number };

/** Pure but for the clock, the observer and what it says. */
export async function waitAndDecide(
  observe: () => Promise<Observed>,
  say: (line: string) => void,
  record: (decision: Decision) => Promise<void>,
  timing: Timing = TIMING,
  now: () => number = Date.now,
): Promise<Outcome> {
  const began = now();
  let said = { code: "", at: 0 };
  let lasting = { code: "", since: 0 };
  for (;;) {
    const seen = await observe();
    let decision = decide(seen);
    if (decision.code !== lasting.code) lasting = { code: decision.code, since: now() };
    if (decision.verdict === "wait" && now() - lasting.since >= (decision.refuseAfterMs ?? Number.POSITIVE_INFINITY))
      decision = { ...decision, verdict: "refuse" };
    if (decision.verdict !== "wait" || decision.code !== said.code) {
      for (const line of [...describeDecision(decision), ...describeObserved(seen)]) say(line);
      said = { code: decision.verdict === "wait" ? decision.code : "", at: now() };
      await record(decision);
    }
    if (decision.verdict === "start")
      return {
        config: decision.code === "DEGRADED" ? LIGHTNINGD.degradedConfig : LIGHTNINGD.config,
        ...(seen.cluster?.cluster.state === "primary" ? { server: seen.cluster.cluster.server } : {}),
      };
    if (decision.verdict === "refuse") return { status: EXIT.gateRefused };
    const waited = now() - began;
    const limit = seen.unmounted.length > 0 ? timing.mountMs : timing.waitMs;
    if (waited >= limit) {
      say(
        `gate: not yet (${decision.code}), after ${seconds(waited)}; systemd starts it again and it asks anew. ${decision.fix}`,
      );
      return { status: EXIT.temporary };
    }
    if (now() - said.at >= PROGRESS_MS) {
      say(`gate: waiting ${seconds(waited)} of ${seconds(limit)} (${decision.code}): ${decision.what}`);
      said.at = now();
    }
    await delay(timing.pollMs);
  }
}

const seconds = (ms: number) => `${Math.round(ms / 1000)} s`;

/** Runs in the unit, as the node's user, under the start lock. */
export async function gateStart(document: LightningdDocument, say: (line: string) => void): Promise<Outcome> {
  if (hasSqliteWallet(document)) {
    const { main, replica } = document.wallet;
    for (const path of [main, ...(replica?.peek.kind === "local" ? [replica.path] : [])]) await removeScratch(path);
  }
  const timing = hasSqliteWallet(document) ? TIMING : CLUSTER_TIMING;
  const record = async (decision: Decision) => {
    // Missing outside the unit; the record is for `status` only.
    await mkdir(LIGHTNINGD.runtimeDirectory, { recursive: true }).catch(() => {});
    await writeFile(GATE_RECORD, `${JSON.stringify({ at: new Date().toISOString(), ...decision })}\n`).catch(() => {});
  };
  const pace = hasSqliteWallet(document) ? undefined : nextStart(await readStarts(), bootSeconds());
  if (pace !== undefined && pace.pauseSeconds > 0) {
    say(
      `gate: lightningd has ended soon after its start ${pace.short} times in a row; pausing for ${pace.pauseSeconds} s`,
    );
    await delay(pace.pauseSeconds * 1000);
  }
  const outcome = await waitAndDecide(createObserver(document, say), say, record, timing);
  if ("status" in outcome) return outcome;
  const changed = await changedMeanwhile(document, outcome.config);
  if (changed !== undefined) {
    say(`gate: not yet (CONFIG_CHANGED): ${changed}; systemd starts it again and it asks anew`);
    return { status: EXIT.temporary };
  }
  if (pace !== undefined) await noteStart(pace.short);
  return outcome;
}

const FILES = { document: readGateDocument, config: readText };

/**
 * A gate may wait for minutes, and an `up` in that time puts another config in place, which lightningd would start with unchecked.
 * @returns in words what is not as it was checked
 */
export async function changedMeanwhile(
  document: LightningdDocument,
  config: string,
  read: typeof FILES = FILES,
): Promise<string | undefined> {
  if (canonicalJson(await read.document()) !== canonicalJson(document))
    return `${LIGHTNINGD.gateDocument} was replaced since this gate read it`;
  const rendered = lightningdConfFiles(document).find(({ path }) => path === config)?.content ?? "";
  const found = placesIn((await read.config(config)) ?? "");
  return found === placesIn(rendered)
    ? undefined
    : `${config} names another wallet than the one that was checked; if no pulumi up is at work on it, ./twofold repair puts it right`;
}

/** The lines that say on which files lightningd runs. */
const placesIn = (config: string) => config.match(/^(?:network|lightning-dir|wallet)=.*$/gm)?.join("\n") ?? "";
