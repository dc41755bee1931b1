/** The cluster without standbys, without etcd, or with a standby that is being made. */
import { healLinks, slowLink } from "../../faults/links.ts";
import type { Machine } from "../../faults/machine.ts";
import { killHost, powerOn } from "../../faults/power.ts";
import { RECOVER_SECONDS } from "../../faults/under-writer.ts";
import { eventually } from "../../helpers/lab.ts";
import {
  BEYOND_TTL_SECONDS,
  cluster,
  nothingIsAcknowledged,
  PATRONI_SECONDS,
  proves,
  SILENT_SECONDS,
} from "./sentences.ts";

/** A base backup of 30 MB lasts for minutes, a clone too. */
const SLOW_BYTES = 200_000;
const SLOW_BACKUP = "64k";

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

proves("without any standby nothing is acknowledged while a base backup runs", async (primary, recorder) => {
  await endStandbys(primary);
  const [standby] = cluster.others(primary);
  if (standby === undefined) throw new Error("the cluster has one member");
  const backup = cluster.baseBackup(standby, primary, { rate: SLOW_BACKUP, seconds: SILENT_SECONDS + 60 });
  await eventually(
    "a base backup receives the primary's log",
    60,
    async () => (await cluster.receivers(primary)).length >= 2,
  );
  await nothingIsAcknowledged(recorder);
  if ((await cluster.receivers(primary)).length < 2) throw new Error("the base backup has ended before the look");
  await backup.end();
  for (const each of cluster.others(primary)) await cluster.startMember(each);
});

proves("one member of etcd dead: nothing stops", async (primary, recorder) => {
  const [other] = cluster.others(primary);
  if (other === undefined) throw new Error("the cluster has one member");
  await cluster.stopEtcd(other);
  await recorder.more(20, RECOVER_SECONDS);
  if ((await cluster.primary()).name !== primary.name) throw new Error("the primary has moved");
  await cluster.startEtcd(other);
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
  await slowLink(spare, primary, SLOW_BYTES);
  await spare.exec("rm", "--recursive", cluster.dataDirectory(spare));
  await cluster.startMember(spare);
  await eventually(`${spare.name} is being cloned`, PATRONI_SECONDS, async () =>
    (await cluster.receivers(primary)).includes("pg_basebackup"),
  );
  await killHost(primary);
  const next = await cluster.awaitPrimary(cluster.others(primary), RECOVER_SECONDS);
  await healLinks(spare);
  await powerOn([primary]);
  if (next.name !== standby.name) throw new Error(`${next.name} was promoted, ${standby.name} was synchronous`);
});
