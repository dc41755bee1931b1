/** Processes and hosts of the cluster end, or stand still. */
import type { Machine } from "../../faults/machine.ts";
import { killHost, powerOn } from "../../faults/power.ts";
import { pauseHost, resumeHost } from "../../faults/processes.ts";
import { RECOVER_SECONDS, WHOLE_SECONDS } from "../../faults/under-writer.ts";
import { eventually } from "../../helpers/lab.ts";
import { cluster, proves, provesOfAnySession } from "./sentences.ts";

proves("kill -9 of the primary's postmaster", (primary) => cluster.killPostmaster(primary));

proves("kill -9 of Patroni alone: nothing moves", async (primary, recorder) => {
  await cluster.killPatroni(primary);
  await recorder.more(20, RECOVER_SECONDS);
  if ((await cluster.primary()).name !== primary.name) throw new Error(`${primary.name} is not primary any more`);
});

proves("the end of the primary's host: another member takes over [survival:primary]", async (primary) => {
  await killHost(primary);
  await cluster.awaitPrimary(cluster.others(primary), RECOVER_SECONDS);
  await powerOn([primary]);
});

proves(
  "the end of the synchronous standby's host: another takes its place [survival:other-host]",
  async (primary, recorder) => {
    const standby = await cluster.synchronous();
    await killHost(standby);
    await recorder.more(20, RECOVER_SECONDS);
    if ((await cluster.primary([primary])).name !== primary.name) throw new Error("the primary has moved");
    await powerOn([standby]);
  },
);

provesOfAnySession(
  "a primary that stands still for a minute acknowledges nothing when it goes on",
  async (primary, recorder) => {
    const paused = Date.now();
    await pauseHost(primary);
    const next = await cluster.awaitPrimary(cluster.others(primary), RECOVER_SECONDS);
    // Its kernel still answers, so no timeout of TCP tells lightningd that nobody is there.
    await recorder.more(1, RECOVER_SECONDS);
    await eventually("a minute has passed", RECOVER_SECONDS, async () => Date.now() > paused + 60_000);
    await resumeHost(primary);
    await follows(primary, next);
  },
);

provesOfAnySession(
  "Patroni alone stands still on the primary, whose PostgreSQL runs on: the node goes on at the new primary, without an operator",
  async (primary, recorder) => {
    await cluster.pausePatroni(primary);
    try {
      await cluster.awaitPrimary(cluster.others(primary), RECOVER_SECONDS);
      await recorder.more(20, RECOVER_SECONDS);
      if (await cluster.isReadOnly(primary)) throw new Error(`${primary.name} has ended being a primary by itself`);
    } finally {
      await cluster.resumePatroni(primary);
    }
  },
);

async function follows(member: Machine, primary: Machine): Promise<void> {
  await eventually(`${member.name} follows ${primary.name}`, WHOLE_SECONDS, async () =>
    (await cluster.list([primary])).some(({ name, state }) => name === member.name && state === "streaming"),
  );
}
