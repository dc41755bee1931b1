/**
 * `npm run prove -- postgres-failures`: what can happen to a node whose wallet is in a PostgreSQL cluster, beside the cluster's own faults
 * (`-- postgres`): to its volume, its host, its secret and Pulumi's state, and to the members' data by mistake. Passes with the real lightningd
 * go into the survival table.
 */
import { readFileSync } from "node:fs";
import test from "ava";
import { LIGHTNINGD } from "../../scripts/host/contract.ts";
import { Cluster } from "../faults/cluster.ts";
import { corruptSmallFile, newDisk, pullDisk, scrubErrors } from "../faults/disks.ts";
import { highestMark } from "../faults/gate.ts";
import type { Machine } from "../faults/machine.ts";
import { NodeUnderFaults } from "../faults/node-under-faults.ts";
import { checkIsContent, declareDisks, diskOf, isRefused, isUp, newHost, putSecretBack } from "../faults/operator.ts";
import { forgetDisks, killHost, powerOn, putImageBack, takeImage } from "../faults/power.ts";
import { lightningd, lightningds } from "../faults/processes.ts";
import { chooseSeed } from "../faults/seed.ts";
import { RECOVER_SECONDS, WHOLE_SECONDS } from "../faults/under-writer.ts";
import { Lab } from "../helpers/lab.ts";
import { diskDies, diskDiesBeforeReboot, FIRST_SECONDS, secretIsLost, stateIsLost } from "./failures/any-wallet.ts";

const seed = `${chooseSeed()}-p`;

let lab: Lab;
let wallet: NodeUnderFaults;
/** hsm_secret's own copy off the host, as a real operator has it on paper. */
let paper: Buffer;

test.before("a cluster of three members, and spare disks in the node's host", async () => {
  lab = await Lab.up({ name: "postgres-failures", log: () => {} });
  wallet = new NodeUnderFaults(lab, seed);
  paper = readFileSync(await node().path(wallet.secret));
  await wallet.commit("first", 5);
  await wallet.nothingIsLost();
});
test.after.always(() => lab?.down());

const node = () => wallet.node;
const disk = (name: string) => diskOf(lab, node().name, name);

test.serial("[survival:lost-state] an up after Pulumi's state was lost leaves the running node alone", (t) =>
  stateIsLost(t, wallet),
);

test.serial("[survival:hsm-secret] without hsm_secret the node stands still until it is put back", (t) =>
  secretIsLost(t, wallet, paper),
);

test.serial(
  "[survival:bit-rot] hsm_secret rots on one disk: it is read past, and repaired from the other",
  async (t) => {
    wallet.promised("bit-rot", /^does not stop$/, /^by itself, from the other half; weekly scrub$/);
    const { mount } = wallet;
    const rotten = disk("b");
    const pid = await lightningd(node());
    await corruptSmallFile(node(), mount, wallet.secret, rotten);
    await wallet.commit("bit-rot", 3);
    t.is(await lightningd(node()), pid, "lightningd was restarted");
    // What was read before is in the page cache, which a mount begins anew.
    await wallet.stop();
    await node().exec("umount", mount);
    await node().exec("mount", mount);
    t.deepEqual(readFileSync(await node().path(wallet.secret)), paper);
    await wallet.start();
    await wallet.nothingIsLost();
    await node().exec("btrfs", "scrub", "start", "-B", mount);
    await node().exec("btrfs", "device", "stats", "--reset", mount);
    t.is(await scrubErrors(node(), mount, rotten), 0, "the rot is still there");
    await checkIsContent(lab);
    await wallet.passed("survival:bit-rot");
  },
);

test.serial("[survival:disk] a disk dies, the node goes on, and a new disk takes its place meanwhile", (t) =>
  diskDies(t, wallet, { dead: disk("b"), left: disk("a"), spare: disk("c") }),
);

test.serial(
  "[survival:disk-reboot] a disk dies and the host reboots: nothing starts until the disk is replaced by hand",
  (t) => diskDiesBeforeReboot(t, wallet, { dead: disk("c"), left: disk("a"), spare: disk("d") }),
);

test.serial("[survival:two-disks] both disks die at once: hsm_secret on new ones is all that is needed", async (t) => {
  wallet.promised("two-disks", /^until hsm_secret is put back/, /^by hand: pulumi up, then hsm_secret from its copy$/);
  const { mount } = wallet;
  const dead = [disk("a"), disk("d")];
  const fresh = [disk("b"), disk("c")];
  for (const one of fresh) await newDisk(one);
  const recorder = await wallet.writer("two-disks");
  await recorder.more(3, FIRST_SECONDS);
  await Promise.all(dead.map((one) => pullDisk(one)));
  await killHost(node());
  await recorder.stop();
  wallet.keep(recorder);
  await forgetDisks([...dead, ...fresh]);
  await powerOn([node()]);
  declareDisks(wallet, node(), mount, fresh);
  await isUp(node());
  const refused = async () => isRefused(await lab.tryUp(), "SECRET_MISSING", /hsm_secret back from its off-host copy/);
  if (!(await refused())) isRefused(await lab.verb("repair", "--yes"), "SECRET_MISSING", /off-host copy/);
  await wallet.refusedWith("SECRET_MISSING");
  await putSecretBack(wallet, paper);
  await lab.up();
  await wallet.verb("repair", "--yes");
  await wallet.nothingIsLost();
  await checkIsContent(lab);
  await wallet.passed("survival:two-disks");
  t.pass();
});

test.serial(
  "[survival:host-rollback] the node's host put back to an older image goes on from the cluster's newest state",
  async (t) => {
    wallet.promised("host-rollback", /^restarts by itself$/, /^by itself$/);
    await killHost(node());
    const image = await takeImage(node());
    await powerOn([node()]);
    await wallet.nothingIsLost();
    await wallet.commit("after-the-image", 5);
    // The witness has the newest state after a clean stop.
    await wallet.stop();
    await node().exec("touch", `${wallet.mount}/of-after`);
    await killHost(node());
    const mark = () => highestMark([node()], wallet.topology);
    const newest = await mark();
    await putImageBack(node(), image);
    const older = await mark();
    t.true(older !== undefined && newest !== undefined && older < newest, `the root disk's mark: ${newest}, ${older}`);
    await powerOn([node()]);
    await isUp(node());
    t.not(
      (await lab.tryExec(node().name, "test", "-e", `${wallet.mount}/of-after`)).status,
      0,
      "the volume is the newer one",
    );
    await wallet.nothingIsLost();
    t.is((await lightningds(node())).length, 1);
    await checkIsContent(lab);
    await wallet.passed("survival:host-rollback");
  },
);

/** Stops PostgreSQL on all members, the primary last, which then has every commit. @returns the primary */
async function stopMembers(cluster: Cluster): Promise<Machine> {
  const primary = await cluster.primary();
  for (const member of [...cluster.others(primary), primary]) await member.exec("systemctl", "stop", "patroni");
  return primary;
}

async function startMembers(cluster: Cluster): Promise<void> {
  for (const member of cluster.members) await cluster.startMember(member);
  await cluster.whole(WHOLE_SECONDS);
}

test.serial(
  "[survival:old-copy] an old state of one standby is brought up to date; of all members it is refused until the newest is back",
  async (t) => {
    wallet.promised(
      "old-copy",
      /^until the cluster has its newest state/,
      /^by hand: the newest data back on one member, the others made anew$/,
    );
    const cluster = new Cluster(lab);
    await cluster.whole(WHOLE_SECONDS);
    const data = (member: Machine) => cluster.dataDirectory(member);
    const move = (member: Machine, from: string, to: string) =>
      member.exec("mv", `${data(member)}${from}`, `${data(member)}${to}`);
    await wallet.stop();
    await stopMembers(cluster);
    for (const member of cluster.members)
      await member.exec("cp", "--archive", "--reflink=always", data(member), `${data(member)}.older`);
    await startMembers(cluster);
    await wallet.start();
    await wallet.nothingIsLost();
    await wallet.commit("after-the-copy", 5);

    const standby = await cluster.synchronous();
    const pid = await lightningd(node());
    const recorder = await wallet.writer("old-standby");
    await recorder.more(3, FIRST_SECONDS);
    await standby.exec("systemctl", "stop", "patroni");
    await standby.exec("rm", "--recursive", data(standby));
    await standby.exec("cp", "--archive", "--reflink=always", `${data(standby)}.older`, data(standby));
    await cluster.startMember(standby);
    await cluster.whole(WHOLE_SECONDS);
    await recorder.more(3, FIRST_SECONDS);
    await recorder.stop();
    wallet.keep(recorder);
    t.is(await lightningd(node()), pid, "lightningd was restarted");
    const present = await cluster.labels(standby);
    t.deepEqual(
      recorder.acknowledged.filter(({ label }) => !present.has(label)),
      [],
    );

    await wallet.stop();
    const newest = await stopMembers(cluster);
    for (const member of cluster.members) {
      await move(member, "", ".newest");
      await move(member, ".older", "");
    }
    await startMembers(cluster);
    await wallet.refusedWith("ROLLED_BACK");

    // README, "An old state of the cluster was put back".
    await stopMembers(cluster);
    for (const member of cluster.members) await move(member, "", ".rolled-back");
    await move(newest, ".newest", "");
    await cluster.startMember(newest);
    await cluster.awaitPrimary([newest], RECOVER_SECONDS);
    await startMembers(cluster);
    await wallet.start();
    await wallet.nothingIsLost();
    await checkIsContent(lab);
    await wallet.passed("survival:old-copy");
  },
);

test.serial(
  "[survival:node-host] [survival:site] the node's host and its disks are lost, and its site with them: a new host takes the cluster's wallet",
  async (t) => {
    for (const failure of ["node-host", "site"] as const)
      wallet.promised(
        failure,
        /^until the host is made anew/,
        /^by hand: pulumi up and certificates renew --new-authority, hsm_secret from its copy, then witness rebuild$/,
      );
    const { hosts } = wallet.topology;
    t.is(Object.keys(hosts).filter((name) => hosts[name]?.site === hosts.alice?.site).length, 1);
    const recorder = await wallet.writer("node-host");
    await recorder.more(3, FIRST_SECONDS);
    await killHost(node());
    await recorder.stop();
    wallet.keep(recorder);
    await newHost(node());
    const first = await lab.tryUp();
    t.not(first.status, 0);
    await wallet.verb("certificates", "renew", "--new-authority");
    isRefused(await lab.tryUp(), "SECRET_MISSING", /off-host copy/);
    await wallet.refusedWith("SECRET_MISSING");
    await putSecretBack(wallet, paper);
    await wallet.refusedWith("WITNESS_MISSING");
    await wallet.verb("witness", "rebuild", "--reason", "the node's host is a new one");
    await lab.up();
    await wallet.verb("repair", "--yes");
    await wallet.nothingIsLost();
    await checkIsContent(lab);
    t.is((await lightningds(node())).length, 1);
    const identity = JSON.parse(await node().exec("cat", LIGHTNINGD.identity));
    t.is(identity.node, "alice", "the new host does not know whose node it runs");
    await wallet.passed("survival:node-host");
    await wallet.passed("survival:site");
  },
);
