/**
 * The two copies on a lab of two hosts: a short run of the proof (`npm run prove -- two-copies` is the long one), then what else can happen
 * to the copies, one by one. After each refusal main, replica and hsm_secret are byte-identical to before.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import test from "ava";
import { ACCOUNT, networkDirectory } from "../../components/topology/places.ts";
import type { TestId } from "../../components/topology/survival/proofs.ts";
import { LIGHTNINGD, WITNESS_DIRECTORY } from "../../scripts/host/contract.ts";
import { fingerprintOf, type Place, readCopy } from "../faults/copies.ts";
import { corruptBlocks, deviceErrors, fillDisk } from "../faults/disks.ts";
import { gateDecides, gateSays, nodeAnswers } from "../faults/gate.ts";
import { cutLink, droppedPackets, healLinks, slowLink } from "../faults/links.ts";
import { local } from "../faults/machine.ts";
import { killHost, powerOn, withVolume } from "../faults/power.ts";
import { lightningd, lightningds, pauseHost, resumeHost } from "../faults/processes.ts";
import { Recorder } from "../faults/recorder.ts";
import { chooseSeed, Random } from "../faults/seed.ts";
import { eventually, Lab } from "../helpers/lab.ts";
import { recordPass } from "../helpers/proofs.ts";
import { outputOf } from "../helpers/run-program.ts";
import { Campaign, planCuts, sightings } from "../prove/campaign.ts";

const CUTS = 8;
const ANSWER_SECONDS = 90;
const GATE_SECONDS = 90;
/** A second, each way: a few commits. */
const SLOW_BYTES = 100_000;
const REAL = process.env.TWOFOLD_LIGHTNINGD_ARCHIVE !== undefined;
const seed = chooseSeed();

let lab: Lab;
let campaign: Campaign;
/** Invoices that the node has to have, whatever comes. */
const standing = new Set<string>();

test.before("a lab with two copies", async () => {
  console.log(`TWOFOLD_SEED=${seed} repeats this run${REAL ? "" : "; not proved with the real lightningd"}`);
  lab = await Lab.up({ log: () => {} });
  campaign = await Campaign.start(lab, seed, console.log);
});
test.after.always(async () => {
  await campaign?.end();
  await lab?.down();
});

const node = () => campaign.node;
const vault = () => campaign.replica.host;
const answers = () => nodeAnswers(node(), campaign.topology, ANSWER_SECONDS);
const fingerprint = () => fingerprintOf(campaign.topology, campaign.main, campaign.replica);
const secret = () => `${networkDirectory(campaign.topology)}/hsm_secret`;

/** A verb of the operator's that has to succeed. */
const verb = async (...words: string[]) => outputOf(await lab.verb(...words));

const stop = () => node().exec("systemctl", "stop", LIGHTNINGD.unit);
/** @returns the time before the start, for what the gate says after it */
async function start(...options: string[]): Promise<number> {
  const since = Date.now();
  await node().exec("systemctl", "reset-failed", LIGHTNINGD.unit);
  await node().exec("systemctl", "start", "--no-block", ...options, LIGHTNINGD.unit);
  return since;
}
/** The unit mounts what it wants; a start by which nothing is mounted is one whose mounts failed. */
const WITHOUT_MOUNTS = "--job-mode=ignore-dependencies";

/** Makes invoices that have to be there from now on. */
async function commit(name: string, count: number): Promise<void> {
  const recorder = await Recorder.start(node(), campaign.topology, `${seed}-${name}`, count);
  const status = await recorder.ended();
  await recorder.stop();
  if (status !== 0 || recorder.acknowledged.length !== count) throw new Error(`the writer ended with ${status}`);
  for (const { label } of recorder.acknowledged) standing.add(label);
}

/** The node answers and has every invoice. */
async function nothingIsLost(): Promise<void> {
  const labels = new Set(await answers());
  const lost = [...standing].filter((label) => !labels.has(label));
  if (lost.length > 0) throw new Error(`the node runs without ${lost.length} acknowledged invoices: ${lost.slice(-5)}`);
}

/** Starts, and checks that the gate refuses with this code and nothing was touched. */
async function refusedWith(code: string): Promise<void> {
  const before = await fingerprint();
  const gate = await gateDecides(node(), await start(), GATE_SECONDS);
  if (gate.code !== code) throw new Error(`the gate said ${gate.code}, expected ${code}`);
  await eventually("the unit has given up", GATE_SECONDS, async () => {
    const state = await lab.tryExec("alice", "systemctl", "is-failed", LIGHTNINGD.unit);
    return state.stdout.trim() === "failed";
  });
  const after = await fingerprint();
  for (const [file, digest] of Object.entries(before))
    if (after[file] !== digest) throw new Error(`the gate refused with ${code}, and yet ${file} changed`);
}

/** Starts, and checks that the gate waits with this code; nothing was touched and no lightningd runs. */
async function waitsWith(code: string, ...options: string[]): Promise<void> {
  const gate = await gateSays(node(), await start(...options), GATE_SECONDS);
  if (gate.verdict !== "wait" || gate.code !== code)
    throw new Error(`the gate said ${gate.verdict} ${gate.code}, expected to wait with ${code}`);
  const running = await lightningds(node());
  if (running.length > 0) throw new Error(`lightningd runs (${running}) while its gate waits`);
}

async function restore(): Promise<void> {
  await verb("restore", "replica");
  await start();
  await nothingIsLost();
}

/** Copies of a place's database, beside it; the node is stopped. */
const aside = ({ path }: Place) => `${path}.older`;
async function keepOlder(place: Place): Promise<void> {
  await place.host.exec("cp", "--preserve=all", place.path, aside(place));
}
const putOlder = (place: Place) => place.host.exec("cp", "--preserve=all", aside(place), place.path);

/** A pass counts as a proof only with the real lightningd. */
async function passed(id: TestId): Promise<void> {
  if (REAL) recordPass(id, campaign.setup, { lightningd: await campaign.version(), runs: 1 });
}

test.serial(`${CUTS} cuts of power, hosts, links and disks cost what the survival table says`, async (t) => {
  for (const cut of planCuts(new Random(seed), CUTS, campaign.kind)) await campaign.cut(cut);
  const seen = sightings(campaign.outcomes);
  console.log(`seen ${JSON.stringify(seen)}`);
  t.true(seen.journalOfMain + seen.journalOfReplica > 0, "no copy was ever met with a journal");
  t.true(seen.sinceAcknowledged < 2000);
  await campaign.stop();
});

test.serial(
  "[survival:primary] [repair:restore-replica] refuses to start without main, which is restored from the replica",
  async (t) => {
    await commit("primary", 3);
    await stop();
    await keepOlder(campaign.main);
    await keepOlder(campaign.replica);
    await node().exec("cp", "--preserve=all", secret(), `${secret()}.kept`);
    await node().exec("rm", campaign.main.path);
    await refusedWith("MAIN_MISSING");
    await restore();
    await passed("survival:primary");
    await passed("repair:restore-replica");
    t.pass();
  },
);

test.serial("[survival:old-copy] refuses an older main, and restores the newer replica", async (t) => {
  await commit("old", 4);
  await stop();
  await putOlder(campaign.main);
  await refusedWith("REPLICA_NEWER");
  await restore();
  await passed("survival:old-copy");
  t.pass();
});

test.serial("[survival:host-rollback] refuses a host that was put back whole, mark and all", async (t) => {
  await stop();
  const mark = await node().path(`${WITNESS_DIRECTORY}/${campaign.topology.node.name}/mark.json`);
  const older = { ...(JSON.parse(readFileSync(mark, "utf8")) as object), dataVersion: 12, exact: false };
  await putOlder(campaign.main);
  writeFileSync(mark, `${JSON.stringify(older)}\n`);
  await refusedWith("REPLICA_NEWER");
  await restore();
  await passed("survival:host-rollback");
  t.pass();
});

test.serial("refuses two copies that were both put back, by the witness alone", async (t) => {
  await stop();
  const { main, replica } = campaign;
  for (const place of [main, replica]) {
    await place.host.exec("cp", "--preserve=all", place.path, `${place.path}.newest`);
    await putOlder(place);
  }
  await refusedWith("ROLLED_BACK");
  for (const place of [main, replica]) await place.host.exec("mv", `${place.path}.newest`, place.path);
  await start();
  await nothingIsLost();
  t.pass();
});

test.serial("a replica that is older by more than one commit is copied anew", async (t) => {
  await stop();
  await putOlder(campaign.replica);
  const gate = await gateDecides(node(), await start(), GATE_SECONDS);
  t.is(gate.code, "REPLICA_ANEW");
  await nothingIsLost();
  await stop();
  const [main, replica] = [await readCopy(campaign.main), await readCopy(campaign.replica)];
  t.deepEqual([replica.dataVersion, replica.labels], [main.dataVersion, main.labels]);
});

test.serial(
  "[survival:unmounted] [repair:repair] waits for the volume, writes nothing below its mount point, and repair mounts it",
  async (t) => {
    const { mount } = campaign.main;
    await node().exec("umount", mount);
    await waitsWith("NOT_MOUNTED", WITHOUT_MOUNTS);
    t.is(await node().exec("ls", "--almost-all", mount), "", "something was written below the mount point");
    const repaired = await lab.verb("repair", "--yes");
    t.is(repaired.status, 0, repaired.stdout + repaired.stderr);
    await nothingIsLost();
    await passed("survival:unmounted");
    await passed("repair:repair");
  },
);

test.serial("waits while the replica's mount is missing and an empty directory is in its place", async (t) => {
  await stop();
  await node().exec("systemctl", "stop", "twofold-replica.service");
  await waitsWith("NOT_MOUNTED", WITHOUT_MOUNTS);
  await node().exec("systemctl", "start", "twofold-replica.service");
  await nothingIsLost();
  t.pass();
});

test.serial("waits for a replica whose volume became read-only", async (t) => {
  await stop();
  await vault().exec("mount", "-o", "remount,ro", campaign.replica.mount);
  await waitsWith("REPLICA_UNREACHABLE");
  await vault().exec("mount", "-o", "remount,rw", campaign.replica.mount);
  await nothingIsLost();
  t.pass();
});

test.serial("a full replica stops lightningd, with nothing lost and nothing started against it", async (t) => {
  const free = await fillDisk(vault(), campaign.replica.mount);
  const recorder = await Recorder.start(node(), campaign.topology, `${seed}-full`);
  t.is(await recorder.ended(), 3, "lightningd goes away when the replica can't be written");
  await recorder.stop();
  for (const { label } of recorder.acknowledged) standing.add(label);
  await free();
  await start();
  await nothingIsLost();
});

test.serial("[survival:second-start] fails to start by hand beside the unit", async (t) => {
  const pid = await lightningd(node());
  const words = ["--quiet", "--wait", "--pipe", `--uid=${ACCOUNT.name}`, `--gid=${ACCOUNT.name}`];
  const ran = await lab.tryExec(
    "alice",
    "systemd-run",
    ...words,
    `${LIGHTNINGD.programs}/lightningd`,
    `--conf=${LIGHTNINGD.config}`,
  );
  t.not(ran.status, 0);
  t.is(await lightningd(node()), pid);
  await commit("second", 2);
  await nothingIsLost();
  await passed("survival:second-start");
});

test.serial("[survival:bit-rot] rot on one disk is read past and repaired from the other", async (t) => {
  await stop();
  const disk = node().disk("b");
  await corruptBlocks(node(), campaign.main.mount, campaign.main.path, disk);
  t.true((await deviceErrors(node(), campaign.main.mount, disk)) > 0);
  await start();
  await nothingIsLost();
  const scrubbed = await node().exec("btrfs", "scrub", "start", "-B", campaign.main.mount);
  t.notRegex(scrubbed, /uncorrectable: *[1-9]/i);
  await node().exec("btrfs", "device", "stats", "--reset", campaign.main.mount);
  await passed("survival:bit-rot");
});

test.serial("both disks swapped: the node starts, since BTRFS knows its disks by what is on them", async (t) => {
  await stop();
  await killHost(node());
  const [a, b] = [node().disk("a"), node().disk("b")];
  await local("cp", "--reflink=always", a.file, `${a.file}.swap`);
  await local("cp", "--reflink=always", b.file, a.file);
  await local("cp", "--reflink=always", `${a.file}.swap`, b.file);
  await local("rm", `${a.file}.swap`);
  await withVolume(node(), campaign.main.mount, async (root) => t.true(existsSync(root)));
  await powerOn([node()]);
  await nothingIsLost();
});

test.serial("a vault that freezes for a while holds commits back and loses none", async (t) => {
  const recorder = await Recorder.start(node(), campaign.topology, `${seed}-frozen`);
  await recorder.more(2, ANSWER_SECONDS);
  await pauseHost(vault());
  await eventually("commits stand still", 10, async () => {
    const seen = recorder.acknowledged.length;
    await new Promise((resolve) => setTimeout(resolve, 500));
    return recorder.acknowledged.length === seen;
  });
  await resumeHost(vault());
  await recorder.more(2, ANSWER_SECONDS);
  await recorder.stop();
  for (const { label } of recorder.acknowledged) standing.add(label);
  await nothingIsLost();
  t.pass();
});

test.serial("a slow link slows commits down and loses none", async (t) => {
  await slowLink(node(), vault(), SLOW_BYTES);
  const recorder = await Recorder.start(node(), campaign.topology, `${seed}-slow`);
  await recorder.more(5, ANSWER_SECONDS);
  await recorder.stop();
  t.true((await droppedPackets(node())) > 0, "the link was not slow: no packet was dropped");
  await healLinks(node());
  for (const { label } of recorder.acknowledged) standing.add(label);
  await nothingIsLost();
});

test.serial("a link that is cut one way is noticed, and the node comes back with it", async (t) => {
  await cutLink(node(), vault(), "in");
  await eventually("lightningd is stopped", ANSWER_SECONDS, async () => (await lightningds(node())).length === 0);
  await healLinks(node());
  await nothingIsLost();
  t.pass();
});

test.serial(
  "[survival:other-host] [repair:degrade-replica] without the vault the node stands still until it is degraded, and both copies are back at its end",
  async (t) => {
    await killHost(vault());
    await eventually("lightningd is stopped", ANSWER_SECONDS, async () => (await lightningds(node())).length === 0);
    await verb("degrade", "replica", "--for", "1h", "--reason", "the vault is dead");
    await nothingIsLost();
    await commit("degraded", 3);
    await powerOn([vault()]);
    await stop();
    // It refuses, and changes nothing, until the vault's replica is mounted again and answers; sshfs mounts before it is let in.
    await eventually("degraded mode is ended", ANSWER_SECONDS, async () => {
      return (await lab.verb("degrade", "end")).status === 0;
    });
    const [main, replica] = [await readCopy(campaign.main), await readCopy(campaign.replica)];
    t.deepEqual([replica.dataVersion, replica.labels], [main.dataVersion, main.labels]);
    await start();
    await nothingIsLost();
    await passed("survival:other-host");
    await passed("repair:degrade-replica");
    await passed("repair:restore-replica");
  },
);
