/** What all sentences of `npm run prove -- postgres` share: one cluster, and the ways to hold it to a sentence. */
import { randomBytes } from "node:crypto";
import test, { type ExecutionContext } from "ava";
import type { TestId } from "../../../components/topology/survival/proofs.ts";
import { sentenceOf } from "../../../components/topology/survival.ts";
import { Cluster } from "../../faults/cluster.ts";
import type { Machine } from "../../faults/machine.ts";
import { cutPower, type PowerCut } from "../../faults/power.ts";
import { Probe } from "../../faults/probe.ts";
import type { Recorder } from "../../faults/recorder.ts";
import { acknowledgedDuring, underWriter, WHOLE_SECONDS } from "../../faults/under-writer.ts";
import { Lab } from "../../helpers/lab.ts";
import { recordPass } from "../../helpers/proofs.ts";

const RUNS = Number(process.env.TWOFOLD_RUNS || 3);
/** Longer than Patroni's ttl, so that a primary that can't renew its lock has lost it. */
export const BEYOND_TTL_SECONDS = 30;
/** How long a cluster that must not acknowledge is watched. */
export const SILENT_SECONDS = 15;
export const PATRONI_SECONDS = 60;

export let cluster: Cluster;
test.before("a cluster of three members", async () => {
  cluster = new Cluster(await Lab.up({ name: "postgres", log: () => {} }));
});
test.after.always(() => cluster?.lab.down());

export const word = () => randomBytes(4).toString("hex");

/** Writes the pass down for every id in the title. */
async function recorded(title: string, runs: number): Promise<void> {
  if (process.env.TWOFOLD_LIGHTNINGD_ARCHIVE === undefined) return;
  const { version } = await cluster.lab.rpc<{ version: string }>(cluster.node.name, "getinfo");
  for (const [, id] of title.matchAll(/\[(survival:[a-z-]+)\]/g))
    recordPass(sentenceOf(id as TestId, cluster.topology), { lightningd: version, runs });
}

/** Makes a run {@link RUNS} times, or `runs`. */
export function repeatedly(title: string, run: (t: ExecutionContext) => Promise<void>, runs = RUNS): void {
  test.serial(title, async (t) => {
    try {
      for (let count = 1; count <= runs; count++) await run(t);
    } catch (error) {
      // The sentences after it are to be judged by themselves.
      await cluster.restore();
      throw error;
    }
    await recorded(title, runs);
  });
}

type Fault = (primary: Machine, recorder: Recorder) => Promise<void>;

/** Runs a fault {@link RUNS} times under the writer; each time nothing that was acknowledged may be missing. */
export function proves(title: string, fault: Fault): void {
  repeatedly(title, async (t) => {
    const { lost, gap, acknowledged } = await underWriter(cluster, word(), fault);
    t.deepEqual(lost, []);
    t.log(`${acknowledged} acknowledged, none lost; longest gap ${gap.toFixed(1)} s`);
  });
}

/** The same with a session of its own on the primary, which stays there when lightningd has left it: it is told of nothing that is lost either. */
export function provesOfAnySession(title: string, fault: Fault): void {
  proves(title, async (primary, recorder) => {
    const probe = await Probe.start(cluster, primary);
    await fault(primary, recorder);
    await cluster.whole(WHOLE_SECONDS);
    const lost = await probe.lost(await cluster.primary());
    if (lost.length > 0) throw new Error(`${primary.name} acknowledged what is lost: ${lost.join()}`);
  });
}

/** None comes for a while, but for one that was on its way when the fault had taken effect. */
export async function nothingIsAcknowledged(recorder: Recorder, meanwhile = async () => {}): Promise<void> {
  const arriving = await acknowledgedDuring(recorder, 1);
  if (arriving.length > 1) throw new Error(`acknowledged although nothing may be: ${arriving.join()}`);
  const [late] = await Promise.all([acknowledgedDuring(recorder, SILENT_SECONDS), meanwhile()]);
  if (late.length > 0) throw new Error(`acknowledged although nothing may be: ${late.join()}`);
}

/** The members' data has to lie on disks that a cut reaches. */
export function cutMembers(members: Machine[]): Promise<PowerCut> {
  for (const member of members) cluster.volume(member);
  return cutPower(members);
}
