/**
 * `npm run prove -- two-copies`: TWOFOLD_CUTS cuts (100) of each kind of topology, repeated by TWOFOLD_SEED. One kind alone:
 * `npm run prove -- two-copies --match '*sshfs, wal*'`.
 *
 * What it proves goes into the survival table, if the real lightningd ran.
 */
import test from "ava";
import type { TestId } from "../../components/topology/survival/proofs.ts";
import { sentenceOf } from "../../components/topology/survival.ts";
import { chooseSeed, Random } from "../faults/seed.ts";
import { Lab } from "../helpers/lab.ts";
import { recordPass } from "../helpers/proofs.ts";
import { Campaign, failureOf, planCuts, sightings } from "./campaign.ts";
import { missingMainWithoutGate, withoutFsync } from "./controls.ts";

/** Below this many a run is an exercise and no proof. */
const ENOUGH_CUTS = 100;
const CUTS = Number(process.env.TWOFOLD_CUTS || ENOUGH_CUTS);
/** An acknowledgement this long before a cut, in milliseconds, is shortly before it: BTRFS writes by itself every 30 s. */
const SHORTLY_MS = 250;
const seed = chooseSeed();
console.log(`TWOFOLD_SEED=${seed} TWOFOLD_CUTS=${CUTS} repeats this run`);

/** What each kind of topology proves, by the ids of the survival table's cells. */
const KINDS = [
  {
    setup: "raid1, sshfs, delete",
    lab: "sshfs-delete",
    proves: "[survival:power-node] [survival:power-all] [survival:network] [survival:disk] [repair:restore-replica]",
  },
  {
    setup: "raid1, sshfs, wal",
    lab: "default",
    proves: "[survival:power-node] [survival:power-all] [survival:network] [survival:disk]",
  },
  { setup: "raid1, local, wal", lab: "local-replica", proves: "[survival:power-node] [survival:disk]" },
  { setup: "raid1, wal", lab: "one-host", proves: "[survival:power-node] [survival:disk]" },
  { setup: "raid1, delete", lab: "one-host-delete", proves: "[survival:power-node] [survival:disk]" },
  { setup: "raid1, local, delete", lab: "local-replica-delete", proves: "[survival:power-node] [survival:disk]" },
];

for (const { setup, lab: name, proves } of KINDS) {
  const ids = [...proves.matchAll(/\[(.+?)\]/g)].map(([, id]) => id as TestId);
  const title = `${setup}: acknowledged commits survive ${CUTS} cuts as the survival table says ${proves}`;
  test.serial(title, async (t) => {
    const lab = await Lab.up({ name, log: () => {} });
    const campaign = await Campaign.start(lab, seed, (line) => console.log(`${setup}: ${line}`));
    try {
      t.is(campaign.setup, setup);
      const version = await campaign.version();
      for (const cut of planCuts(new Random(seed), CUTS, campaign.kind)) await campaign.cut(cut);

      const seen = sightings(campaign.outcomes);
      console.log(`${setup}: seen ${JSON.stringify(seen)}`);
      t.true(seen.journalOfMain > 0, "main was never met with a hot journal or a WAL");
      if (campaign.kind !== "alone") {
        t.true(seen.behindByOne > 0, "the replica was never one version behind main at a cut");
        t.true(seen.journalOfReplica > 0, "the replica was never met with a hot journal or a WAL");
      }
      t.true(seen.sinceAcknowledged < SHORTLY_MS, `no power cut came within ${SHORTLY_MS} ms of an acknowledgement`);
      // The negative control of the rollback journal: without it, nobody would believe that WAL is what holds.
      if (campaign.mode === "delete")
        t.true(seen.lostByMain > 0, "main lost nothing at a power cut with a rollback journal");
      else t.is(seen.lostByMain, 0);

      if (campaign.kind !== "alone") {
        const erased = await missingMainWithoutGate(campaign);
        console.log(
          `${setup}: without the gate a missing main took the replica from ${erased.before} invoices to ${erased.after}`,
        );
        t.true(erased.before > 0);
        t.is(erased.after, 0, "the control must lose: lightningd erases the replica when main is missing");
      }
      await campaign.stop();
      const lost = await withoutFsync(campaign);
      console.log(`${setup}: without fsync a power cut lost ${lost.length} acknowledged commits in every copy`);
      t.true(lost.length > 0, "the control must lose: without fsync an acknowledged commit is on no disk");

      if (process.env.TWOFOLD_LIGHTNINGD_ARCHIVE === undefined) return t.log("not proved with the real lightningd");
      if (CUTS < ENOUGH_CUTS) return t.log(`not written down: ${CUTS} cuts, ${ENOUGH_CUTS} are asked for`);
      for (const id of ids) {
        const runs = campaign.outcomes.filter((outcome) =>
          id === "repair:restore-replica"
            ? outcome.gate?.code === "REPLICA_NEWER"
            : `survival:${failureOf(outcome.cut.fault)}` === id,
        ).length;
        if (t.true(runs > 0, `[${id}] never came up in ${CUTS} cuts`))
          recordPass(sentenceOf(id, campaign.topology), { lightningd: version, runs });
      }
    } finally {
      await campaign.end();
      await lab.down();
    }
  });
}
