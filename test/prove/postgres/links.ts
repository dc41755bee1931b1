/** Links between the members, and to the node, are cut. */
import { CLUSTER_PORTS } from "../../../scripts/host/contract.ts";
import { cutLink, cutPorts, healLinks } from "../../faults/links.ts";
import { acknowledgedDuring, RECOVER_SECONDS } from "../../faults/under-writer.ts";
import { BEYOND_TTL_SECONDS, cluster, nothingIsAcknowledged, proves, provesOfAnySession } from "./sentences.ts";

provesOfAnySession(
  "a primary that is cut off from everyone for longer than its lock lasts",
  async (primary, recorder) => {
    const others = cluster.others(primary);
    for (const other of [...others, cluster.node]) await cutLink(primary, other);
    await cluster.awaitPrimary(others, RECOVER_SECONDS);
    await recorder.more(1, RECOVER_SECONDS);
    await healLinks(primary);
  },
);

provesOfAnySession("a primary that is cut off from the members, and not from lightningd", async (primary, recorder) => {
  const others = cluster.others(primary);
  for (const other of others) await cutLink(primary, other);
  await cluster.awaitPrimary(others, RECOVER_SECONDS);
  await recorder.more(1, RECOVER_SECONDS);
  await healLinks(primary);
});

provesOfAnySession("a primary that is cut off from etcd alone", async (primary, recorder) => {
  const others = cluster.others(primary);
  const { etcdClient, etcdPeer } = CLUSTER_PORTS;
  for (const other of others) await cutPorts(primary, other, [etcdClient, etcdPeer]);
  await cluster.awaitPrimary(others, RECOVER_SECONDS);
  await recorder.more(1, RECOVER_SECONDS);
  await healLinks(primary);
});

proves("the primary cut off from its synchronous standby alone", async (primary, recorder) => {
  await cutLink(primary, await cluster.synchronous());
  await recorder.more(20, RECOVER_SECONDS);
  await healLinks(primary);
});

for (const [direction, words] of [
  ["out", "the primary hears its standbys, and they don't hear it"],
  ["in", "the standbys hear their primary, and it doesn't hear them"],
] as const)
  provesOfAnySession(`one-way loss: ${words}`, async (primary, recorder) => {
    for (const other of cluster.others(primary)) await cutLink(primary, other, direction);
    await acknowledgedDuring(recorder, BEYOND_TTL_SECONDS);
    await healLinks(primary);
  });

proves(
  "the node cut off from the cluster: it stands still until the link is back [survival:network]",
  async (_primary, recorder) => {
    for (const member of cluster.members) await cutLink(cluster.node, member);
    await nothingIsAcknowledged(recorder);
    await healLinks(cluster.node);
  },
);
