/**
 * The two copies on a lab of two hosts: a short run of the proof (`npm run prove -- two-copies` is the long one), then what else can happen
 * to the copies, one by one. After each refusal main, replica and hsm_secret are byte-identical to before.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import test from "ava";
import { ACCOUNT } from "../../components/topology/places.ts";
import { LIGHTNINGD, WITNESS_DIRECTORY } from "../../scripts/host/contract.ts";
import type { Place } from "../faults/copies.ts";
import { corruptBlocks, fillDisk, scrubErrors } from "../faults/disks.ts";
import { gateDecides } from "../faults/gate.ts";
import { cutLink, droppedPackets, healLinks, slowLink } from "../faults/links.ts";
import { local } from "../faults/machine.ts";
import { ANSWER_SECONDS, GATE_SECONDS, REAL, TwoCopies, WITHOUT_MOUNTS } from "../faults/node-under-faults.ts";
import { killHost, powerOn, withVolume } from "../faults/power.ts";
import { lightningd, pauseHost, resumeHost } from "../faults/processes.ts";
import { chooseSeed, Random } from "../faults/seed.ts";
import { eventually, Lab } from "../helpers/lab.ts";
import { Campaign, planCuts, sightings } from "../prove/campaign.ts";

const CUTS = 8;
/** A second, each way: about a commit in WAL mode. nftables lets the bytes of one second pass before it drops any. */
const SLOW_BYTES = 20_000;
const seed = chooseSeed();

/** Seconds for a session to come or to go. */
const EFFECT_SECONDS = 30;

let lab: Lab;
let campaign: Campaign;
let wallet: TwoCopies;

test.before("a lab with two copies", async () => {
  console.log(`TWOFOLD_SEED=${seed} repeats this run${REAL ? "" : "; not proved with the real lightningd"}`);
  lab = await Lab.up({ log: () => {} });
  campaign = await Campaign.start(lab, seed, console.log);
  wallet = new TwoCopies(lab, seed);
});
test.after.always(async () => {
  await campaign?.end();
  await lab?.down();
});

const node = () => wallet.node;
const vault = () => wallet.vault;

/** Copies of a place's database, beside it; the node is stopped. */
const aside = ({ path }: Place) => `${path}.older`;
async function keepOlder(place: Place): Promise<void> {
  await place.host.exec("cp", "--preserve=all", place.path, aside(place));
}
const putOlder = (place: Place) => place.host.exec("cp", "--preserve=all", aside(place), place.path);

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
    await wallet.commit("primary", 3);
    await wallet.stop();
    await keepOlder(wallet.main);
    await keepOlder(wallet.replica);
    await node().exec("cp", "--preserve=all", wallet.secret, `${wallet.secret}.kept`);
    await node().exec("rm", wallet.main.path);
    await wallet.refusedWith("MAIN_MISSING");
    await wallet.restore();
    await wallet.passed("survival:primary");
    await wallet.passed("repair:restore-replica");
    t.pass();
  },
);

test.serial(
  "refuses a restore while another host is logged in to the replica, and waits until it is gone",
  async (t) => {
    await wallet.stop();
    await node().exec("rm", wallet.main.path);
    // As a former host of the node would be: with its key, and not by this host's mount.
    const login = "(sleep 600 | sftp -q -b - -F /etc/twofold/replica_ssh_config replica) >/dev/null 2>&1 & echo $!";
    const sessions = async () =>
      (await vault().exec("ps", "-eo", "args")).split("\n").filter((line) => /^sshd.*@internal-sftp/.test(line)).length;
    const own = await sessions();
    const another = async () => {
      const shell = (await node().exec("sh", "-c", login)).trim();
      await eventually("another session is there", EFFECT_SECONDS, async () => (await sessions()) === own + 1);
      // Each may end with another one before its own turn; that the session is gone is seen on the other host.
      return () => node().exec("sh", "-c", 'kill -KILL $(ps -o pid= --ppid "$1") "$1" || true', "sh", shell);
    };
    const end = await another();
    const refused = await lab.verb("restore", "replica");
    t.is(refused.status, 3, refused.stdout + refused.stderr);
    t.regex(refused.stderr, /waiting\n[\s\S]*RESTORE-REPLICA-IN-USE: .*vault/);
    t.not((await lab.tryExec(node().name, "test", "-e", wallet.main.path)).status, 0, "nothing was restored");
    await end();
    await eventually("it is gone", EFFECT_SECONDS, async () => (await sessions()) === own);

    const endNext = await another();
    const restoring = wallet.restore();
    await eventually("the restore is at work", EFFECT_SECONDS, async () =>
      /twofold-.*restore/.test(await node().exec("systemctl", "list-units", "--plain", "--no-legend")),
    );
    await endNext();
    await restoring;
  },
);

test.serial("[survival:old-copy] refuses an older main, and restores the newer replica", async (t) => {
  await wallet.commit("old", 4);
  await wallet.stop();
  await putOlder(wallet.main);
  await wallet.refusedWith("REPLICA_NEWER");
  await wallet.restore();
  await wallet.passed("survival:old-copy");
  t.pass();
});

test.serial("[survival:host-rollback] refuses a host that was put back whole, mark and all", async (t) => {
  await wallet.stop();
  const mark = await node().path(`${WITNESS_DIRECTORY}/${wallet.topology.node.name}/mark.json`);
  const older = { ...(JSON.parse(readFileSync(mark, "utf8")) as object), dataVersion: 12, exact: false };
  await putOlder(wallet.main);
  writeFileSync(mark, `${JSON.stringify(older)}\n`);
  await wallet.refusedWith("REPLICA_NEWER");
  await wallet.restore();
  await wallet.passed("survival:host-rollback");
  t.pass();
});

test.serial("refuses two copies that were both put back, by the witness alone", async (t) => {
  await wallet.stop();
  const { main, replica } = wallet;
  for (const place of [main, replica]) {
    await place.host.exec("cp", "--preserve=all", place.path, `${place.path}.newest`);
    await putOlder(place);
  }
  await wallet.refusedWith("ROLLED_BACK");
  for (const place of [main, replica]) await place.host.exec("mv", `${place.path}.newest`, place.path);
  await wallet.start();
  await wallet.nothingIsLost();
  t.pass();
});

test.serial("a replica that is older by more than one commit is copied anew", async (t) => {
  await wallet.stop();
  await putOlder(wallet.replica);
  const gate = await gateDecides(node(), await wallet.start(), GATE_SECONDS);
  t.is(gate.code, "REPLICA_ANEW");
  await wallet.nothingIsLost();
  await wallet.stop();
  await wallet.copiesAgree();
});

test.serial(
  "[survival:unmounted] [repair:repair] waits for the volume, writes nothing below its mount point, and repair mounts it",
  async (t) => {
    const { mount } = wallet.main;
    await node().exec("umount", mount);
    await wallet.waitsWith("NOT_MOUNTED", WITHOUT_MOUNTS);
    t.is(await node().exec("ls", "--almost-all", mount), "", "something was written below the mount point");
    const repaired = await lab.verb("repair", "--yes");
    t.is(repaired.status, 0, repaired.stdout + repaired.stderr);
    await wallet.nothingIsLost();
    await wallet.passed("survival:unmounted");
    await wallet.passed("repair:repair");
  },
);

test.serial("waits while the replica's mount is missing and an empty directory is in its place", async (t) => {
  await wallet.stop();
  await node().exec("systemctl", "stop", "twofold-replica.service");
  await wallet.waitsWith("NOT_MOUNTED", WITHOUT_MOUNTS);
  await node().exec("systemctl", "start", "twofold-replica.service");
  await wallet.nothingIsLost();
  t.pass();
});

test.serial("waits for a replica whose volume became read-only", async (t) => {
  await wallet.stop();
  await vault().exec("mount", "-o", "remount,ro", wallet.replica.mount);
  await wallet.waitsWith("REPLICA_UNREACHABLE");
  await vault().exec("mount", "-o", "remount,rw", wallet.replica.mount);
  await wallet.nothingIsLost();
  t.pass();
});

test.serial("a full replica stops lightningd, with nothing lost and nothing started against it", async (t) => {
  const free = await fillDisk(vault(), wallet.replica.mount);
  await wallet.writeToTheEnd("full");
  await wallet.ended();
  await wallet.stop();
  // Main has the commit that the replica had no room for.
  await wallet.waitsWith("REPLICA_NO_SPACE");
  await free();
  await wallet.nothingIsLost();
  t.pass();
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
  await wallet.commit("second", 2);
  await wallet.nothingIsLost();
  await wallet.passed("survival:second-start");
});

test.serial("[survival:bit-rot] rot on one disk is read past and repaired from the other", async (t) => {
  await wallet.stop();
  const disk = node().disk("b");
  await corruptBlocks(node(), wallet.main.mount, wallet.main.path, disk);
  await wallet.start();
  await wallet.nothingIsLost();
  const scrubbed = await node().exec("btrfs", "scrub", "start", "-B", wallet.main.mount);
  t.notRegex(scrubbed, /uncorrectable: *[1-9]/i);
  t.is(await scrubErrors(node(), wallet.main.mount, disk), 0, "the rot is still there");
  await node().exec("btrfs", "device", "stats", "--reset", wallet.main.mount);
  await wallet.passed("survival:bit-rot");
});

test.serial(
  "rot of a replica on a single disk is waited for as such, and the replica is written anew from main",
  async (t) => {
    await wallet.stop();
    const { replica } = wallet;
    await corruptBlocks(vault(), replica.mount, replica.path, vault().disk("c"));
    await wallet.waitsWith("REPLICA_UNREADABLE");
    await wallet.verb("resync", "replica", "--reason", "its disk is rotten");
    await vault().exec("btrfs", "device", "stats", "--reset", replica.mount);
    await wallet.start();
    await wallet.nothingIsLost();
    await wallet.stop();
    await wallet.copiesAgree();
    t.pass();
  },
);

test.serial("both disks swapped: the node starts, since BTRFS knows its disks by what is on them", async (t) => {
  await wallet.stop();
  await killHost(node());
  const [a, b] = [node().disk("a"), node().disk("b")];
  await local("cp", "--reflink=always", a.file, `${a.file}.swap`);
  await local("cp", "--reflink=always", b.file, a.file);
  await local("cp", "--reflink=always", `${a.file}.swap`, b.file);
  await local("rm", `${a.file}.swap`);
  await withVolume(node(), wallet.main.mount, async (root) => t.true(existsSync(root)));
  await powerOn([node()]);
  await wallet.nothingIsLost();
});

test.serial("a vault that freezes for a while holds commits back and loses none", async (t) => {
  const recorder = await wallet.writer("frozen");
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
  wallet.keep(recorder);
  await wallet.nothingIsLost();
  t.pass();
});

test.serial("a slow link slows commits down and loses none", async (t) => {
  await slowLink(node(), vault(), SLOW_BYTES);
  const recorder = await wallet.writer("slow");
  await eventually(
    "the link is slow: packets are dropped",
    ANSWER_SECONDS,
    async () => (await droppedPackets(node())) > 0,
  );
  await recorder.more(2, ANSWER_SECONDS);
  await healLinks(node());
  await recorder.stop();
  wallet.keep(recorder);
  await wallet.nothingIsLost();
  t.pass();
});

test.serial("a link that is cut one way is noticed, and the node comes back with it", async (t) => {
  await cutLink(node(), vault(), "in");
  await wallet.ended();
  await healLinks(node());
  await wallet.nothingIsLost();
  t.pass();
});

test.serial(
  "[survival:other-host] [repair:degrade-replica] without the vault the node stands still until it is degraded, and both copies are back at its end",
  async (t) => {
    await killHost(vault());
    await wallet.ended();
    await wallet.verb("degrade", "replica", "--for", "1h", "--reason", "the vault is dead");
    await wallet.nothingIsLost();
    await wallet.commit("degraded", 3);
    await powerOn([vault()]);
    await wallet.stop();
    // It refuses, and changes nothing, until the vault's replica is mounted again and answers; sshfs mounts before it is let in.
    await eventually("degraded mode is ended", ANSWER_SECONDS, async () => {
      return (await lab.verb("degrade", "end")).status === 0;
    });
    await wallet.copiesAgree();
    await wallet.start();
    await wallet.nothingIsLost();
    await wallet.passed("survival:other-host");
    await wallet.passed("repair:degrade-replica");
    t.pass();
  },
);
