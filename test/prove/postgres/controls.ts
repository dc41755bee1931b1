/** The controls, which must lose, and what puts the cluster right after the first of them. Nothing is left of the cluster after the last. */
import test from "ava";
import { powerOn } from "../../faults/power.ts";
import { Recorder } from "../../faults/recorder.ts";
import { isolateAndKill, RECOVER_SECONDS, WHOLE_SECONDS } from "../../faults/under-writer.ts";
import { eventually } from "../../helpers/lab.ts";
import { cluster, cutMembers, word } from "./sentences.ts";

test.serial(
  "the control: with asynchronous replication a primary that is alone when its host ends loses what it acknowledged",
  async (t) => {
    await cluster.whole(WHOLE_SECONDS);
    await cluster.configure({ synchronous_mode: false });
    await eventually("the primary waits for nobody", 30, async () => {
      const names = await cluster.sql(await cluster.primary(), "SHOW synchronous_standby_names");
      return names.trim() === "";
    });
    const { alone, lost } = await isolateAndKill(cluster, word(), { synchronous: false });
    t.true(alone.length > 0, "the control has to acknowledge what no standby has");
    t.true(lost.length > 0, "the control has to lose");
    t.log(`${lost.length} acknowledged invoices were lost`);
  },
);

test.serial("repair puts back what the control switched off", async (t) => {
  await cluster.whole(WHOLE_SECONDS, false);
  const ran = await cluster.lab.verb("repair", "--yes");
  t.is(ran.status, 0, ran.stderr);
  t.regex(ran.stderr + ran.stdout, /patroni:alice/);
  await cluster.whole(WHOLE_SECONDS);
  const checked = await cluster.lab.verb("check");
  t.is(checked.status, 0, checked.stdout + checked.stderr);
});

/** PostgreSQL's words for data that was not written in the order in which it had to be. */
const DAMAGED =
  /PANIC|could not locate a valid checkpoint record|invalid page in block|incorrect checksum|is corrupted/;

test.serial("the control: without fsync a power cut of all members loses what was acknowledged", async (t) => {
  await cluster.whole(WHOLE_SECONDS);
  await cluster.configure({ "postgresql.parameters.fsync": "off" });
  await eventually("no member waits for its disk", 60, async () => {
    const shown = await Promise.all(cluster.members.map((member) => cluster.sql(member, "SHOW fsync")));
    return shown.every((each) => each.trim() === "off");
  });
  const recorder = await Recorder.start(cluster.node, cluster.topology, word());
  try {
    await recorder.more(200, RECOVER_SECONDS);
    await cutMembers(cluster.members);
  } finally {
    await recorder.stop();
  }
  const since = Math.floor(Date.now() / 1000);
  await powerOn(cluster.members);
  const primary = await cluster.awaitPrimary(cluster.members, RECOVER_SECONDS).catch(() => undefined);
  const read = await Promise.allSettled(cluster.members.map((member) => cluster.labels(member)));
  const present = new Set(read.flatMap((each) => (each.status === "fulfilled" ? [...each.value] : [])));
  // Where no data can even be started from, all of it is lost; but a cluster that is only late has lost nothing yet.
  if (read.every(({ status }) => status === "rejected")) {
    const log = ["journalctl", "--unit=patroni", `--since=@${since}`, "--output=cat", "--no-pager"];
    for (const member of cluster.members)
      t.regex(await member.exec(...log), DAMAGED, `${member.name} does not say why`);
  }
  const lost = recorder.acknowledged.filter(({ label }) => !present.has(label));
  t.true(lost.length > 0, "the control has to lose");
  t.log(
    `${lost.length} of ${recorder.acknowledged.length} acknowledged invoices were lost${primary === undefined ? ", with all the rest: no member starts" : ""}`,
  );
});
