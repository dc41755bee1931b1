/** The cluster without standbys, without etcd, or with a standby that is being made. */
import { healLinks, slowLink } from "../../faults/links.ts";
import type { Machine } from "../../faults/machine.ts";
import { killHost, powerOn } from "../../faults/power.ts";
import { acknowledgedDuring, RECOVER_SECONDS } from "../../faults/under-writer.ts";
import { eventually } from "../../helpers/lab.ts";
import { BEYOND_TTL_SECONDS, cluster, nothingIsAcknowledged, PATRONI_SECONDS, proves } from "./sentences.ts";

/** A clone of 30 MB lasts for minutes. */
const SLOW_BYTES = 200_000;

const isCloned = async (primary: Machine) => (await cluster.receivers(primary)).includes("pg_basebackup");

/** Wipes a member that is off and lets Patroni clone it by its own settings, slowly; returns when that has begun. */
async function beginClone(member: Machine, primary: Machine): Promise<void> {
  await slowLink(member, primary, SLOW_BYTES);
  await member.exec("rm", "--recursive", cluster.dataDirectory(member));
  await cluster.startMember(member);
  await eventually(`${member.name} is being cloned`, PATRONI_SECONDS, () => isCloned(primary));
}

/** Ends all standbys, and returns when the primary has none. */
async function endStandbys(primary: Machine): Promise<void> {
  const standbys = cluster.others(primary);
  // And not with their hosts: etcd keeps its majority, so the primary stays primary.
  for (const standby of standbys) await cluster.killMember(standby);
  await eventually(
    "the primary has no standby",
    PATRONI_SECONDS,
    async () => (await cluster.receivers(primary)).length === 0,
  );
}

proves("without any standby nothing is acknowledged, and all goes on when one is back", async (primary, recorder) => {
  await endStandbys(primary);
  await nothingIsAcknowledged(recorder);
  for (const standby of cluster.others(primary)) await cluster.startMember(standby);
});

proves("without any standby nothing is acknowledged while Patroni clones one", async (primary, recorder) => {
  const cloned = await cluster.synchronous();
  await endStandbys(primary);
  await beginClone(cloned, primary);
  await nothingIsAcknowledged(recorder);
  if (!(await isCloned(primary))) throw new Error("the clone has ended before the look");
  await healLinks(cloned);
  for (const each of cluster.others(primary)) await cluster.startMember(each);
});

for (const whose of ["primary", "standby"] as const)
  proves(`one member of etcd dead, on the ${whose}'s host: nothing stops`, async (primary, recorder) => {
    const dead = whose === "primary" ? primary : await cluster.synchronous();
    await cluster.stopEtcd(dead);
    // Longer than the lock lasts that the primary has to renew.
    await acknowledgedDuring(recorder, BEYOND_TTL_SECONDS);
    await recorder.more(20, RECOVER_SECONDS);
    if ((await cluster.primary()).name !== primary.name) throw new Error("the primary has moved");
    await cluster.startEtcd(dead);
  });

proves("two members of etcd dead: read-only, and all comes back", async (primary, recorder) => {
  const others = cluster.others(primary);
  for (const other of others) await cluster.stopEtcd(other);
  await eventually("no member takes writes", BEYOND_TTL_SECONDS + PATRONI_SECONDS, async () => {
    const readOnly = await Promise.all(cluster.members.map((member) => cluster.isReadOnly(member)));
    return readOnly.every(Boolean);
  });
  await nothingIsAcknowledged(recorder);
  if ((await cluster.labels(primary)).size === 0) throw new Error("the wallet can't be read");
  for (const other of others) await cluster.startEtcd(other);
});

proves("a standby that is wiped and cloned while the primary's host ends is not promoted", async (primary) => {
  const standby = await cluster.synchronous();
  const spare = cluster.others(primary).find((member) => member !== standby);
  if (spare === undefined) throw new Error("the cluster has no third member");
  await cluster.killMember(spare);
  await beginClone(spare, primary);
  await killHost(primary);
  const next = await cluster.awaitPrimary(cluster.others(primary), RECOVER_SECONDS);
  await healLinks(spare);
  await powerOn([primary]);
  if (next.name !== standby.name) throw new Error(`${next.name} was promoted, ${standby.name} was synchronous`);
});
