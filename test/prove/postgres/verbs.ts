/** The operator's verbs, on a cluster at work. */
import { setTimeout as delay } from "node:timers/promises";
import test from "ava";
import { nodeAnswers } from "../../faults/gate.ts";
import { processesWith } from "../../faults/processes.ts";
import { chooseSeed, Random } from "../../faults/seed.ts";
import { RECOVER_SECONDS, underWriter, WHOLE_SECONDS } from "../../faults/under-writer.ts";
import { eventually } from "../../helpers/lab.ts";
import { BEYOND_TTL_SECONDS, cluster, PATRONI_SECONDS, word } from "./sentences.ts";

const KILLS = 10;

/** The host program of a switchover, wherever it runs. */
async function switchovers(): Promise<number[]> {
  const found = await Promise.all(cluster.members.map((member) => processesWith(member, "postgres", "switchover")));
  return found.flat();
}

test.serial("a switchover that is killed at any moment leaves one primary, and nothing is lost", async (t) => {
  const seed = chooseSeed();
  const random = new Random(seed);
  let landed = 0;
  for (let round = 1; round <= KILLS; round++) {
    const milliseconds = random.between(0, 1500);
    let killed: number[] = [];
    const { lost } = await underWriter(cluster, word(), async () => {
      const running = cluster.lab.verb("switchover");
      await eventually("the switchover is at work", PATRONI_SECONDS, async () => (await switchovers()).length > 0, 1);
      await delay(milliseconds);
      killed = await switchovers();
      for (const pid of killed) process.kill(pid, "SIGKILL");
      await running;
    });
    t.deepEqual(lost, [], `round ${round}, seed ${seed}, killed after ${milliseconds} ms`);
    await cluster.whole(WHOLE_SECONDS);
    const { name } = await cluster.primary();
    t.log(`${round}: ${killed.length > 0 ? "killed" : "over"} ${milliseconds} ms after its begin; primary ${name}`);
    if (killed.length > 0) landed += 1;
  }
  t.true(landed >= KILLS / 2, `${landed} of ${KILLS} kills met a switchover, seed ${seed}`);
  const ran = await cluster.lab.verb("switchover");
  t.is(ran.status, 0, ran.stderr);
});

test.serial("reinit makes a standby anew from the primary, and refuses the primary", async (t) => {
  await cluster.whole(WHOLE_SECONDS);
  const primary = await cluster.primary();
  // The one that commits wait for: another has to take its place.
  const standby = await cluster.synchronous();
  const refused = await cluster.lab.verb("reinit", "--yes", primary.name);
  t.is(refused.status, 3);
  t.regex(refused.stderr, /is the primary/);
  const asked = await cluster.lab.verb("reinit", standby.name);
  t.not(asked.status, 0);
  t.regex(asked.stderr, /there is no terminal to ask on/);
  const marker = `${cluster.dataDirectory(standby)}/of-before`;
  await standby.exec("touch", marker);
  const { lost } = await underWriter(cluster, word(), async () => {
    const ran = await cluster.lab.verb("reinit", "--yes", standby.name);
    t.is(ran.status, 0, ran.stderr);
  });
  t.deepEqual(lost, []);
  t.not((await cluster.lab.tryExec(standby.name, "test", "-e", marker)).status, 0, "its data is what it was before");
});

test.serial(
  "failover promotes a member that Patroni would not, says what that may cost, and refuses beside a primary",
  async (t) => {
    await cluster.whole(WHOLE_SECONDS);
    const primary = await cluster.primary();
    const standby = await cluster.synchronous();
    const spare = cluster.others(primary).find((member) => member !== standby);
    if (spare === undefined) throw new Error("the cluster has no third member");
    const early = await cluster.lab.verb("failover", "--yes", spare.name);
    t.is(early.status, 3, early.stderr);
    t.regex(early.stderr, /the cluster has a primary that runs/);

    await cluster.lab.invoice(cluster.node.name, `before-${word()}`);
    // In this order: a primary that has lost its standby would make the spare one synchronous.
    await cluster.killMember(primary);
    await cluster.killMember(standby);
    await eventually("the lock of the primary has ended", BEYOND_TTL_SECONDS + PATRONI_SECONDS, async () =>
      (await cluster.list([spare])).every(({ role }) => role !== "leader"),
    );
    t.true(await cluster.isReadOnly(spare), "Patroni itself promotes no member that was not synchronous");
    const asked = await cluster.lab.verb("failover", spare.name);
    t.not(asked.status, 0);
    t.regex(asked.stderr, /there is no terminal to ask on/);
    const ran = await cluster.lab.verb("failover", "--yes", spare.name);
    t.is(ran.status, 0, ran.stderr);
    t.regex(ran.stderr, new RegExp(`${spare.name} IS NOT SYNCHRONOUS`));
    t.regex(ran.stderr, /witness: data_version \d+ or more/);
    t.regex(ran.stderr, /is lost for good/);
    t.is(ran.stdout, `primary: ${spare.name}\n`);
    t.log(ran.stderr);
    for (const member of [primary, standby]) await cluster.startMember(member);
    await cluster.whole(WHOLE_SECONDS);
    await nodeAnswers(cluster.node, cluster.topology, RECOVER_SECONDS);
  },
);

test.serial(
  "a member's host that was lost for good is made anew by the next up, and forgotten under its old number",
  async (t) => {
    await cluster.whole(WHOLE_SECONDS);
    const dead = await cluster.synchronous();
    const [before, meanwhile] = [`before-${word()}`, `meanwhile-${word()}`];
    await cluster.lab.invoice(cluster.node.name, before);
    await cluster.lab.docker("rm", "--force", dead.container);
    await cluster.lab.invoice(cluster.node.name, meanwhile);
    await cluster.lab.again();
    await cluster.whole(WHOLE_SECONDS);
    const present = await cluster.labels(dead);
    t.true(present.has(before) && present.has(meanwhile));
    const checked = await cluster.lab.verb("check");
    t.is(checked.status, 0, checked.stdout + checked.stderr);
  },
);
