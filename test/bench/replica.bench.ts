/**
 * What the second copy costs: commits a second through lightningd's own RPC, one writer, on the labs that the proof cuts; and beside them what
 * everybody has, plain SQLite with a rollback journal on ext4. Then what the gate costs on a large wallet.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { LIGHTNINGD } from "../../scripts/host/contract.ts";
import { detachLoopsBelow, unmountBelow } from "../../scripts/setup/mounts.mjs";
import { nodeAnswers } from "../faults/gate.ts";
import { killLightningd } from "../faults/processes.ts";
import { socketOf } from "../faults/recorder.ts";
import { Lab } from "../helpers/lab.ts";
import { LightningdClient } from "../helpers/lightningd-client.ts";
import { type Daemon, install } from "../helpers/lightningd-daemon.ts";
import { Campaign } from "../prove/campaign.ts";
import { mountNew, run, startOn, write } from "./lightningd-on.ts";
import { inTurns, median, type Subject, seconds, table } from "./paired.ts";

const ROUNDS = 5;
const REAL = process.env.TWOFOLD_LIGHTNINGD_ARCHIVE;
const PLAIN = "plain SQLite on ext4, rollback journal";
const LABS = {
  "local-replica": "RAID-1, local replica",
  default: "RAID-1, replica over sshfs",
  "sshfs-delete": "RAID-1, replica over sshfs",
};
const ANSWER_SECONDS = 300;
/** Small rows with an index, as most of a wallet is: 1 GB together, a tenth in each transaction, so that the -wal stays small. */
const gigabyte = (number: number) =>
  [
    "CREATE TABLE IF NOT EXISTS filler (key BLOB PRIMARY KEY, x BLOB);",
    ...Array.from(
      { length: 10 },
      (_, part) => `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 72000)
        INSERT INTO filler SELECT CAST('filler/${number}/${part}/' || i AS BLOB), zeroblob(1000) FROM n;`,
    ),
  ].join("\n");
/** Sizes of a wallet, in GB. */
const SIZES = [1, 5];

test.serial("commits a second with a replica beside plain SQLite", async (t) => {
  t.timeout(30 * 60_000);
  const programs = mkdtempSync(join(tmpdir(), "tfb-"));
  const labs: Lab[] = [];
  const clients: LightningdClient[] = [];
  let plain: Daemon | undefined;
  let disks: string | undefined;
  try {
    const subjects: Subject[] = [];
    for (const [name, words] of Object.entries(LABS)) {
      const lab = await Lab.up({ name, log: () => {} });
      labs.push(lab);
      const campaign = await Campaign.start(lab, "bench", () => {});
      await campaign.stop();
      const own = await LightningdClient.connect(await socketOf(campaign.node, campaign.topology));
      clients.push(own);
      const mode = campaign.mode === "wal" ? "WAL" : "rollback journal";
      subjects.push({ name: `${words}, ${mode}`, measure: () => write(own) });
      if (plain !== undefined) continue;
      // The same disk: an image beside those of the lab's disks, on the btrfs that lets all of them be cut at one instant.
      disks = mkdtempSync(join(lab.facts.directory, "store/bench-"));
      const ext4 = mountNew(programs, "ext4", 1, (devices) => run("mkfs.ext4", "-q", ...devices), disks);
      plain = await startOn(ext4, "delete", install(REAL ? "real" : "lab", programs, REAL));
      const { client } = plain;
      subjects.unshift({ name: PLAIN, measure: () => write(client) });
    }
    t.log(
      REAL ? "the real lightningd" : "the lab daemon; TWOFOLD_LIGHTNINGD_ARCHIVE=ARCHIVE measures the real lightningd",
    );
    const measured = await inTurns(subjects, ROUNDS);
    t.log(`${table(measured, "commits/s", PLAIN)}\nload ${loadavg()[0]?.toFixed(1)}`);
  } finally {
    for (const client of clients) client.close();
    await plain?.stop();
    if (disks !== undefined) {
      await unmountBelow(programs);
      await detachLoopsBelow(disks);
    }
    for (const lab of labs) await lab.down();
    rmSync(programs, { recursive: true, force: true });
  }
  t.pass();
});

test.serial("the gate's decision on a new wallet and on a large one, after a clean stop and a crash", async (t) => {
  t.timeout(60 * 60_000);
  const lab = await Lab.up({ name: "spare-disks", log: () => {} });
  try {
    const campaign = await Campaign.start(lab, "bench", () => {});
    await campaign.stop();
    const { node, topology, main, replica } = campaign;
    const stop = () => node.exec("systemctl", "stop", LIGHTNINGD.unit);
    const gate = () => node.exec("/usr/bin/node", "/usr/local/lib/twofold/current", "gate");
    const decides = async (what: string) => {
      const rounds: number[] = [];
      for (let round = 0; round < ROUNDS; round++) rounds.push(await seconds(gate));
      const range = `${Math.min(...rounds).toFixed(2)} to ${Math.max(...rounds).toFixed(2)}`;
      t.log(`${what}: ${median(rounds).toFixed(2)} s, ${range}; load ${loadavg()[0]?.toFixed(1)}`);
    };
    const start = async () => {
      await node.exec("systemctl", "start", LIGHTNINGD.unit);
      await nodeAnswers(node, topology, ANSWER_SECONDS);
    };
    const crash = async () => {
      await start();
      await killLightningd(node);
      await stop();
    };
    const decidesBothWays = async (what: string) => {
      await decides(`${what}, after a clean stop`);
      await crash();
      await decides(`${what}, after a crash`);
    };
    await stop();
    await decidesBothWays("a new wallet");
    let filled = 0;
    for (const size of SIZES) {
      for (; filled < size; filled++)
        for (const { host, path } of [main, replica]) await host.exec("sqlite3", path, gigabyte(filled));
      await start();
      await stop();
      await decidesBothWays(`${size} GB`);
    }
  } finally {
    await lab.down();
  }
  t.pass();
});
