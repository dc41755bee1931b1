/** Power cuts, a full disk, a volume that is not mounted. */
import type { ExecutionContext } from "ava";
import { LIGHTNINGD } from "../../../scripts/host/contract.ts";
import { alertsOf, lookNow } from "../../faults/alerts.ts";
import { fillDisk } from "../../faults/disks.ts";
import { gateSays, nodeAnswers } from "../../faults/gate.ts";
import type { Machine } from "../../faults/machine.ts";
import { cutPower, type PowerCut, powerOn } from "../../faults/power.ts";
import { lightningds } from "../../faults/processes.ts";
import { Recorder } from "../../faults/recorder.ts";
import { acknowledgedDuring, RECOVER_SECONDS, WHOLE_SECONDS } from "../../faults/under-writer.ts";
import { eventually } from "../../helpers/lab.ts";
import { cluster, cutMembers, nothingIsAcknowledged, proves, repeatedly, SILENT_SECONDS, word } from "./sentences.ts";

proves("a power cut of the primary's disks", async (primary, recorder) => {
  await cutMembers([primary]);
  await cluster.awaitPrimary(cluster.others(primary), RECOVER_SECONDS);
  await recorder.more(1, RECOVER_SECONDS);
  await powerOn([primary]);
});

proves("a power cut of primary and synchronous standby at one instant", async (primary, recorder) => {
  const both = [primary, await cluster.synchronous()];
  await cutMembers(both);
  await nothingIsAcknowledged(recorder);
  await powerOn(both);
});

proves("a power cut of all three members at one instant", async (_primary, recorder) => {
  await cutMembers(cluster.members);
  await nothingIsAcknowledged(recorder);
  await powerOn(cluster.members);
});

/** 20 MB of log that no transaction waits for: more than a segment. */
const WRITE_LOG =
  "SELECT pg_logical_emit_message(false, 'fill', repeat('x', 1000000), true) FROM generate_series(1, 20)";

/** Cuts the power of hosts among which is the node's; its writer ends with it. */
async function withTheNode(t: ExecutionContext, cut: () => Promise<PowerCut>, hosts: Machine[]): Promise<void> {
  await cluster.whole(WHOLE_SECONDS);
  const recorder = await Recorder.start(cluster.node, cluster.topology, word());
  let from: bigint;
  try {
    await recorder.more(20, RECOVER_SECONDS);
    ({ from } = await cut());
  } finally {
    await recorder.stop();
  }
  await powerOn(hosts);
  const present = new Set(await nodeAnswers(cluster.node, cluster.topology, WHOLE_SECONDS));
  const before = recorder.acknowledged.filter(({ at }) => at < from);
  t.deepEqual(
    before.filter(({ label }) => !present.has(label)),
    [],
  );
  t.log(`${before.length} acknowledged before the cut, none lost`);
}

repeatedly("a power cut of the node's host: it comes back by itself [survival:power-node]", (t) =>
  withTheNode(t, () => cutPower([cluster.node]), [cluster.node]),
);

repeatedly("a power cut of all hosts at one instant: all comes back by itself [survival:power-all]", (t) => {
  const hosts = [cluster.node, ...cluster.members];
  return withTheNode(t, () => cutMembers(cluster.members.concat(cluster.node)), hosts);
});

proves(
  "the disk of the primary's log is full: nothing is lost, the node goes on, and a member that can't follow is told of",
  async (primary, recorder) => {
    const makeRoom = await fillDisk(primary, cluster.volume(primary));
    try {
      // Its log has segments in stock; with the last of them it ends.
      await eventually("the primary has no room for its log", RECOVER_SECONDS, async () => {
        const { status } = await cluster.lab.tryExec(
          primary.name,
          ...["runuser", "--user", "postgres", "--", "psql", "--no-psqlrc", `--command=${WRITE_LOG}`],
        );
        return status !== 0;
      });
      // It may start again and end again, and Patroni then leaves it the lock.
      await acknowledgedDuring(recorder, SILENT_SECONDS);
    } finally {
      await makeRoom();
    }
    await takesPartAgain(primary);
  },
);

/**
 * What the full disk's log has and the new primary has not is taken back by pg_rewind, which Patroni tries once. Where that was while there
 * was no room, the member is told of, and the operator lets Patroni try again.
 */
async function takesPartAgain(member: Machine): Promise<void> {
  const told = await eventually(`${member.name} takes part again, or is told of`, WHOLE_SECONDS, async () => {
    if (await cluster.takesPart(member)) return "nothing";
    await lookNow(member);
    return (await alertsOf(member)).find(({ code, raised }) => code === "PG_MEMBER_DOWN" && raised !== undefined);
  });
  if (told === "nothing") return;
  console.log(`${member.name} was told of: ${told.value}`);
  await cluster.tryAgain(member);
}

repeatedly("a start without the node's volume waits until it is mounted [survival:unmounted]", async (t) => {
  const { node } = cluster;
  const mount = cluster.volume(node);
  await node.exec("systemctl", "stop", LIGHTNINGD.unit);
  await node.exec("umount", mount);
  const since = Date.now();
  // The unit mounts what it wants; a start by which nothing is mounted is one whose mount failed.
  await node.exec("systemctl", "start", "--no-block", "--job-mode=ignore-dependencies", LIGHTNINGD.unit);
  const gate = await gateSays(node, since, RECOVER_SECONDS);
  t.deepEqual([gate.verdict, gate.code], ["wait", "NOT_MOUNTED"]);
  t.deepEqual(await lightningds(node), []);
  await node.exec("mount", mount);
  await nodeAnswers(node, cluster.topology, RECOVER_SECONDS);
});
