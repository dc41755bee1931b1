/**
 * `npm run prove -- failures`: what can happen to two copies, a fault a test, whose passes with the real lightningd go into the survival table.
 * First what `npm test` runs too, then what takes longer: disks and hosts that are lost for good, and the way back that table and README name.
 */
import "../cluster/two-copies.test.ts";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import test from "ava";
import { parse, stringify } from "yaml";
import { ACCOUNT, networkDirectory } from "../../components/topology/places.ts";
import type { Failure } from "../../components/topology/survival/row.ts";
import { LIGHTNINGD, WITNESS_DIRECTORY } from "../../scripts/host/contract.ts";
import { diskName } from "../../stacks/lab-schema.ts";
import { meetsErrors, newDisk, pullDisk } from "../faults/disks.ts";
import { gateDecides, nodeAnswers } from "../faults/gate.ts";
import { cutLink, healLinks } from "../faults/links.ts";
import { type Disk, local, type Machine } from "../faults/machine.ts";
import { ANSWER_SECONDS, GATE_SECONDS, NodeUnderFaults, REAL } from "../faults/node-under-faults.ts";
import { forgetDisks, killHost, powerOn } from "../faults/power.ts";
import { killLightningd, lightningd, lightningds } from "../faults/processes.ts";
import { chooseSeed } from "../faults/seed.ts";
import { eventually, Lab } from "../helpers/lab.ts";
import { outputOf, type Ran } from "../helpers/run-program.ts";

const seed = `${chooseSeed()}-f`;
/** Seconds for a host's units to be up after its power came back: a disk that does not come is waited for. */
const BOOT_SECONDS = 120;
const FIRST_SECONDS = 60;

let lab: Lab;
let wallet: NodeUnderFaults;
/** hsm_secret's own copy off the host, as a real operator has it on paper. */
let paper: Buffer;

test.after.always(async () => {
  await lab?.down();
});

const node = () => wallet.node;
/** Every disk of a host, in use or not. */
function disk(host: string, name: string): Disk {
  const found = lab.facts.hosts[host]?.disks[name];
  if (found?.device == null) throw new Error(`${host} has no disk ${name}`);
  return { name, file: found.file, device: found.device };
}

/** What the table says of a failure of this topology; the test that follows holds it to that. */
function promised(failure: Failure, standsStill: RegExp, repair: RegExp): void {
  const cells = wallet.cells(failure);
  const wrong = [
    cells.lost === "nothing" ? undefined : `lost at most: ${cells.lost}`,
    standsStill.test(cells.standsStill) ? undefined : `stands still: ${cells.standsStill}`,
    repair.test(cells.repair) ? undefined : `repair: ${cells.repair}`,
  ].filter((part) => part !== undefined);
  if (wrong.length > 0) throw new Error(`the table's row of ${failure} is another than is proved here: ${wrong}`);
}

/** The operator declares other disks for a host's volume. */
function declareDisks(host: Machine, mount: string, disks: Disk[]): void {
  const document = parse(readFileSync(lab.facts.configFile, "utf8"));
  const names = disks.map(({ name }) => diskName(host.name, name));
  const volume =
    mount === wallet.main.mount
      ? document.config["twofold:node"].volume
      : document.config["twofold:hosts"][host.name].volume;
  volume.devices = names;
  writeFileSync(lab.facts.configFile, stringify(document));
  wallet.reread();
}

/** No host differs from the config. */
async function checkIsContent(): Promise<void> {
  await eventually("check finds nothing", ANSWER_SECONDS, async () => {
    const ran = await lab.verb("check");
    if (ran.status !== 0) throw new Error(ran.stdout + ran.stderr);
    return true;
  });
}

/** README, "A disk died": the number of the member that is gone. */
async function replaceDisk(host: Machine, mount: string, devid: string, by: Disk): Promise<void> {
  await host.exec("btrfs", "replace", "start", "-B", "-r", devid, diskName(host.name, by.name), mount);
  await host.exec("btrfs", "balance", "start", "-dconvert=raid1,soft", "-mconvert=raid1,soft", mount);
  await host.exec("btrfs", "scrub", "start", "-B", mount);
  const usage = await host.exec("btrfs", "filesystem", "usage", mount);
  const profiles = [...usage.matchAll(/^(?:Data|Metadata|System),([^:]+):/gm)].map(([, profile]) => profile);
  if (profiles.length !== 3 || profiles.some((profile) => profile !== "RAID1") || !/missing:\s+0\.00B/.test(usage))
    throw new Error(`the volume is not RAID-1 throughout: ${usage}`);
}

/** hsm_secret from its copy, into the directory that `up` has made for it. */
async function putSecretBack(): Promise<void> {
  const file = await node().path(`${networkDirectory(wallet.topology)}/.secret-from-paper`);
  writeFileSync(file, paper, { mode: 0o600 });
  const own = [`--owner=${ACCOUNT.name}`, `--group=${ACCOUNT.name}`, "--mode=0400"];
  await node().exec("install", ...own, `${networkDirectory(wallet.topology)}/.secret-from-paper`, wallet.secret);
  await node().exec("rm", `${networkDirectory(wallet.topology)}/.secret-from-paper`);
}

const isUp = ({ name }: Machine) =>
  eventually(`${name} can be reached`, BOOT_SECONDS, async () => {
    return (await lab.tryExec(name, "systemctl", "is-active", "ssh")).status === 0;
  });

const pulumiUp = (): Promise<Ran> => lab.pulumi(["up", "--yes", "--skip-preview", "--non-interactive"]);

/**
 * The way back to a node whose volume is gone, as the table has it: up, hsm_secret from its copy, restore replica. A new host gets all its stages
 * from up, an old one with new disks gets the volume from up and from repair what lies on it. The node's start, which they try too, is refused
 * by the gate, whose words are the next step.
 */
async function fromTheReplica(): Promise<void> {
  const refused = ({ status, stdout, stderr }: Ran) => {
    const words = stdout + stderr;
    if (status !== 0 && !(/MAIN_MISSING/.test(words) && /restore replica/.test(words)))
      throw new Error(`it failed otherwise than by the gate's refusal: ${words}`);
    return status !== 0;
  };
  if (!refused(await pulumiUp())) refused(await lab.verb("repair", "--yes"));
  await wallet.refusedWith("MAIN_MISSING");
  await putSecretBack();
  await wallet.verb("restore", "replica");
  outputOf(await pulumiUp());
  await wallet.verb("repair", "--yes");
  await wallet.nothingIsLost();
  await checkIsContent();
}

test.serial("a lab with spare disks and a witness on a host of its own", async (t) => {
  lab = await Lab.up({ name: "spare-disks", log: () => {} });
  wallet = new NodeUnderFaults(lab, seed);
  paper = readFileSync(await node().path(wallet.secret));
  await wallet.commit("first", 5);
  await wallet.nothingIsLost();
  t.pass();
});

test.serial("[survival:hsm-secret] without hsm_secret the node stands still until it is put back", async (t) => {
  promised("hsm-secret", /^until hsm_secret is put back/, /^by hand: hsm_secret from its copy$/);
  await wallet.stop();
  await node().exec("rm", wallet.secret);
  await wallet.refusedWith("SECRET_MISSING");
  await putSecretBack();
  await wallet.start();
  await wallet.nothingIsLost();
  await wallet.passed("survival:hsm-secret");
  t.pass();
});

test.serial("[survival:lost-state] an up after Pulumi's state was lost leaves the running node alone", async (t) => {
  promised("lost-state", /^does not stop$/, /^by itself$/);
  const pid = await lightningd(node());
  // The containers are resources of the lab's state too: the stages alone are forgotten, as an operator's state would be.
  const exported = JSON.parse(outputOf(await lab.pulumi(["stack", "export"]))) as {
    deployment: { resources: { type: string }[] };
  };
  const before = exported.deployment.resources.length;
  exported.deployment.resources = exported.deployment.resources.filter(({ type }) => !type.startsWith("command:"));
  t.true(before - exported.deployment.resources.length >= 10, "there were stages to forget");
  const file = join(lab.facts.directory, "state.json");
  writeFileSync(file, JSON.stringify(exported));
  outputOf(await lab.pulumi(["stack", "import", "--file", file]));
  t.regex(outputOf(await pulumiUp()), /created/);
  t.is(await lightningd(node()), pid, "the node was restarted");
  await checkIsContent();
  await wallet.nothingIsLost();
  await wallet.passed("survival:lost-state");
});

test.serial("[repair:degrade-witness] without its witness a start waits, until it is degraded", async (t) => {
  const watch = wallet.machine("watch");
  await killHost(watch);
  await wallet.stop();
  await wallet.waitsWith("WITNESS_UNREACHABLE");
  await wallet.verb("degrade", "witness", "--for", "1h", "--reason", "the witness is dead");
  await wallet.nothingIsLost();
  await wallet.commit("without-witness", 3);
  await wallet.stop();
  // Both copies were written all the while.
  await wallet.copiesAgree();
  await powerOn([watch]);
  await wallet.verb("degrade", "end");
  const gate = await gateDecides(node(), await wallet.start(), GATE_SECONDS);
  t.is(gate.code, "COPIES_AGREE");
  await wallet.nothingIsLost();
  await wallet.passed("repair:degrade-witness", "any");
});

test.serial(
  "[repair:witness-rebuild] a witness that is lost or ahead is refused, and rebuilt; a mark goes down only to what is named",
  async (t) => {
    const places = [node(), wallet.machine("watch")];
    const mark = `${WITNESS_DIRECTORY}/${wallet.topology.node.name}/mark.json`;
    await wallet.stop();
    for (const host of places) await host.exec("rm", mark);
    await wallet.refusedWith("WITNESS_MISSING");
    await wallet.verb("witness", "rebuild", "--reason", "the marks were deleted");
    const { dataVersion } = await wallet.copiesAgree();
    const file = await wallet.machine("watch").path(mark);
    const rebuilt = JSON.parse(readFileSync(file, "utf8"));
    t.is(rebuilt.dataVersion, dataVersion);
    writeFileSync(file, JSON.stringify({ ...rebuilt, dataVersion: dataVersion + 1 }));
    await wallet.refusedWith("ROLLED_BACK");
    const needless = await lab.verb("witness", "rebuild", "--reason", "it is ahead");
    t.not(needless.status, 0);
    t.regex(needless.stderr, new RegExp(`--lower-to ${dataVersion}`));
    await wallet.verb("witness", "rebuild", "--reason", "it is ahead", "--lower-to", `${dataVersion}`);
    await wallet.start();
    await wallet.nothingIsLost();
    await wallet.passed("repair:witness-rebuild", "any");
  },
);

test.serial("[survival:network] a cut link stops the node until it is degraded or the link is back", async (t) => {
  promised("network", /^until the link is back or \.\/twofold degrade replica/, /^\.\/twofold degrade replica$/);
  await cutLink(node(), wallet.vault);
  await wallet.ended();
  await wallet.verb("degrade", "replica", "--for", "1h", "--reason", "the link is cut");
  await wallet.nothingIsLost();
  await wallet.commit("cut-off", 3);
  await healLinks(node());
  await wallet.stop();
  await endDegraded();
  await wallet.copiesAgree();
  await wallet.start();
  await wallet.nothingIsLost();
  // Without the verb it waits for the link, and goes on by itself.
  await cutLink(node(), wallet.vault);
  await wallet.ended();
  await healLinks(node());
  await wallet.nothingIsLost();
  await wallet.passed("survival:network");
  t.pass();
});

/** It refuses, and changes nothing, until the vault's replica is mounted again and answers. */
async function endDegraded(): Promise<void> {
  await eventually("degraded mode is ended", ANSWER_SECONDS, async () => {
    const ran = await lab.verb("degrade", "end");
    if (ran.status !== 0) throw new Error(ran.stderr);
    return true;
  });
}

test.serial(
  "[survival:replica-disk] without the replica's disk the node stands still until it is degraded; a new disk gets the replica anew",
  async (t) => {
    promised("replica-disk", /^until \.\/twofold degrade replica/, /^\.\/twofold degrade replica$/);
    const vault = wallet.vault;
    await pullDisk(disk("vault", "e"));
    await wallet.writeToTheEnd("replica-disk");
    await wallet.verb("degrade", "replica", "--for", "1h", "--reason", "the replica's disk is dead");
    await wallet.nothingIsLost();
    await wallet.commit("without-replica", 3);
    // The dead disk goes out with the power off, as disks do.
    await killHost(vault);
    await forgetDisks([disk("vault", "e")]);
    await powerOn([vault]);
    declareDisks(vault, wallet.replica.mount, [disk("vault", "f")]);
    await isUp(vault);
    outputOf(await pulumiUp());
    // Up has made the volume; what lies on it is of a stage whose document is as before. The node's host can mount it only then.
    await eventually("repair has made the replica's place", ANSWER_SECONDS, async () => {
      const ran = await lab.verb("repair", "--yes");
      if (ran.status !== 0) throw new Error(ran.stdout + ran.stderr);
      return true;
    });
    await wallet.stop();
    await endDegraded();
    await wallet.copiesAgree();
    await wallet.start();
    await wallet.nothingIsLost();
    await checkIsContent();
    await wallet.passed("survival:replica-disk");
    t.pass();
  },
);

test.serial("[survival:disk] a disk dies, the node goes on, and a new disk takes its place meanwhile", async (t) => {
  promised("disk", /^does not stop$/, /^by hand: btrfs replace, then balance to the profile$/);
  const { mount } = wallet.main;
  const [dead, spare] = [disk("alice", "b"), disk("alice", "c")];
  const pid = await lightningd(node());
  const recorder = await wallet.writer("disk");
  await recorder.more(3, FIRST_SECONDS);
  await pullDisk(dead);
  await recorder.more(3, FIRST_SECONDS);
  await meetsErrors(node(), mount, dead);
  await recorder.more(3, FIRST_SECONDS);
  await replaceDisk(node(), mount, await devidOf(dead), spare);
  await recorder.more(3, FIRST_SECONDS);
  await recorder.stop();
  wallet.keep(recorder);
  t.is(await lightningd(node()), pid, "lightningd was restarted");
  declareDisks(node(), mount, [disk("alice", "a"), spare]);
  outputOf(await pulumiUp());
  await checkIsContent();
  await wallet.nothingIsLost();
  t.is(await lightningd(node()), pid, "lightningd was restarted");
  await wallet.passed("survival:disk");
});

/** Number of the member that is gone (btrfs-filesystem(8)); until a reboot it goes by its device's name. */
async function devidOf(dead: Disk): Promise<string> {
  const shown = await node().exec("btrfs", "filesystem", "show", wallet.main.mount);
  const line = shown.split("\n").find((text) => /devid.*missing/i.test(text) || text.includes(` ${dead.device}`));
  const devid = /devid\s+(\d+)/.exec(line ?? "")?.[1];
  if (devid === undefined) throw new Error(`${dead.device} is no member: ${shown}`);
  return devid;
}

test.serial(
  "[survival:disk-reboot] a disk dies and the host reboots: nothing starts until the disk is replaced by hand",
  async (t) => {
    promised(
      "disk-reboot",
      /^until the disk is replaced/,
      /^by hand: mount degraded once, straight into btrfs replace$/,
    );
    const { mount } = wallet.main;
    const [dead, spare] = [disk("alice", "c"), disk("alice", "d")];
    const recorder = await wallet.writer("disk-reboot");
    await recorder.more(3, FIRST_SECONDS);
    await pullDisk(dead);
    await recorder.more(3, FIRST_SECONDS);
    await recorder.stop();
    wallet.keep(recorder);
    await killHost(node());
    await forgetDisks([disk("alice", "a"), dead]);
    const since = Date.now();
    await powerOn([node()]);
    await wallet.waiting("NOT_MOUNTED", since);
    t.is(await node().exec("ls", "--almost-all", mount), "", "something was written below the mount point");

    await wallet.stop();
    await node().exec("mount", "-o", "degraded", mount);
    await replaceDisk(node(), mount, await devidOf(dead), spare);
    await node().exec("umount", mount);
    await node().exec("mount", mount);
    declareDisks(node(), mount, [disk("alice", "a"), spare]);
    outputOf(await pulumiUp());
    await wallet.verb("repair", "--yes");
    await wallet.nothingIsLost();
    await checkIsContent();
    await wallet.passed("survival:disk-reboot");
  },
);

test.serial("[survival:two-disks] both disks die at once: everything comes back from the replica", async (t) => {
  promised(
    "two-disks",
    /^until \.\/twofold restore replica/,
    /^pulumi up, hsm_secret from its copy, then \.\/twofold restore replica$/,
  );
  const { mount } = wallet.main;
  const dead = [disk("alice", "a"), disk("alice", "d")];
  const fresh = [disk("alice", "b"), disk("alice", "c")];
  for (const one of fresh) await newDisk(one);
  const recorder = await wallet.writer("two-disks");
  await recorder.more(3, FIRST_SECONDS);
  await Promise.all(dead.map((one) => pullDisk(one)));
  t.is(await recorder.ended(), 3, "lightningd goes away with its volume");
  await recorder.stop();
  wallet.keep(recorder);
  await killHost(node());
  await forgetDisks([...dead, ...fresh]);
  await powerOn([node()]);
  declareDisks(node(), mount, fresh);
  await isUp(node());
  await fromTheReplica();
  await wallet.passed("survival:two-disks");
});

test.serial(
  "[survival:node-host] [survival:site] the node's host and its disks are lost, and its site with them: a new host takes the replica",
  async (t) => {
    for (const failure of ["node-host", "site"] as const)
      promised(
        failure,
        /^until \.\/twofold restore replica/,
        /^pulumi up, hsm_secret from its copy, then \.\/twofold restore replica$/,
      );
    const { hosts } = wallet.topology;
    t.is(Object.keys(hosts).filter((name) => hosts[name]?.site === hosts.alice?.site).length, 1);
    const recorder = await wallet.writer("node-host");
    await recorder.more(3, FIRST_SECONDS);
    await killHost(node());
    await recorder.stop();
    wallet.keep(recorder);
    // Nothing of it is left: neither its root disk, with mark and identity, nor its volume.
    await local("docker", "rm", "--volumes", node().container);
    for (const one of node().disks) await newDisk(one);
    await forgetDisks(node().disks);
    // Only the lab has to look: a real host that was made anew has another key, which the operator writes into the config.
    outputOf(await lab.pulumi(["refresh", "--yes", "--skip-preview", "--non-interactive"]));
    await fromTheReplica();
    t.is((await lightningds(node())).length, 1);
    const identity = JSON.parse(await node().exec("cat", LIGHTNINGD.identity));
    t.is(identity.node, "alice", "the new host does not know whose node it runs");
    await wallet.passed("survival:node-host");
    await wallet.passed("survival:site");
  },
);

/** A wallet as a routing node has after years: small rows with an index, in a table of lightningd's own that nothing reads at start. */
const LARGE_ROWS = 5_000_000;
const LARGE_BYTES = 5e9;
const FILL = (from: number, to: number) =>
  `PRAGMA synchronous = OFF; WITH RECURSIVE n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${to})
   INSERT INTO datastore (key, data, generation) SELECT CAST('filler/' || i AS BLOB), randomblob(1000), 0 FROM n;`;
/** Seconds within which a node with 5 GB answers. The copy goes over SFTP, through the replica's -wal. */
const LARGE_SECONDS = { replicaAnew: 900, afterCleanStop: 60, afterCrash: 1800 };

(REAL ? test.serial : test.serial.skip)("a wallet of 5 GB starts, and is copied anew to its replica", async (t) => {
  await wallet.stop();
  const { path } = wallet.main;
  const sqlite = (sql: string) => node().exec("runuser", "-u", ACCOUNT.name, "--", "sqlite3", path, sql);
  const chunk = LARGE_ROWS / 10;
  for (let from = 1; from <= LARGE_ROWS; from += chunk) await sqlite(FILL(from, from + chunk - 1));
  // Two commits ahead: lightningd copies main over a replica that has fallen that far behind.
  await sqlite("UPDATE vars SET intval = intval + 2 WHERE name = 'data_version'");
  const { size, blocks } = statSync(await node().path(path));
  t.true(blocks * 512 > LARGE_BYTES, `main has ${size} bytes, ${blocks * 512} of them on the disk`);

  const timed = async (what: string, limit: number, begin: () => Promise<unknown>) => {
    const began = performance.now();
    await begin();
    await nodeAnswers(node(), wallet.topology, limit);
    const seconds = (performance.now() - began) / 1000;
    console.log(
      `${(size / 1e9).toFixed(1)} GB, ${what}: answers after ${seconds.toFixed(1)} s, load ${loadavg()[0]?.toFixed(1)}`,
    );
  };
  await timed("replica copied anew", LARGE_SECONDS.replicaAnew, () => wallet.start());
  await wallet.nothingIsLost();
  await wallet.commit("large", 3);
  await wallet.stop();
  await timed("after a clean stop", LARGE_SECONDS.afterCleanStop, () => wallet.start());
  await timed("after a crash", LARGE_SECONDS.afterCrash, () => killLightningd(node()));
  await wallet.nothingIsLost();
  await wallet.stop();
  const { size: copied } = statSync(await wallet.vault.path(wallet.replica.path));
  t.true(copied > LARGE_BYTES, `the replica has ${copied} bytes`);
  await wallet.start();
  await wallet.nothingIsLost();
});
