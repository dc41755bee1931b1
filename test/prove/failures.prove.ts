/**
 * `npm run prove -- failures`: what can happen to two copies, a fault a test, whose passes with the real lightningd go into the survival table.
 * First what `npm test` runs too, then what takes longer: disks and hosts that are lost for good, and the way back that table and README name.
 */
import "../cluster/two-copies.test.ts";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import test from "ava";
import { ACCOUNT } from "../../components/topology/places.ts";
import { LIGHTNINGD, WITNESS_DIRECTORY } from "../../scripts/host/contract.ts";
import { newDisk, pullDisk } from "../faults/disks.ts";
import { gateDecides, nodeAnswers } from "../faults/gate.ts";
import { cutLink, healLinks } from "../faults/links.ts";
import { ANSWER_SECONDS, GATE_SECONDS, REAL, TwoCopies } from "../faults/node-under-faults.ts";
import { checkIsContent, declareDisks, diskOf, isRefused, isUp, newHost, putSecretBack } from "../faults/operator.ts";
import { forgetDisks, killHost, powerOn } from "../faults/power.ts";
import { killLightningd, lightningds } from "../faults/processes.ts";
import { chooseSeed } from "../faults/seed.ts";
import { eventually, Lab } from "../helpers/lab.ts";
import type { Ran } from "../helpers/run-program.ts";
import { diskDies, diskDiesBeforeReboot, FIRST_SECONDS, secretIsLost, stateIsLost } from "./failures/any-wallet.ts";

const seed = `${chooseSeed()}-f`;

let lab: Lab;
let wallet: TwoCopies;
/** hsm_secret's own copy off the host, as a real operator has it on paper. */
let paper: Buffer;

test.after.always(async () => {
  await lab?.down();
});

const node = () => wallet.node;
const disk = (host: string, name: string) => diskOf(lab, host, name);

/**
 * The way back to a node whose volume is gone, as the table has it: up, hsm_secret from its copy, restore replica. A new host gets all its stages
 * from up, an old one with new disks gets the volume from up and from repair what lies on it. The node's start, which they try too, is refused
 * by the gate, whose words are the next step.
 */
async function fromTheReplica(): Promise<void> {
  const refused = (ran: Ran) => isRefused(ran, "MAIN_MISSING", /restore replica/);
  if (!refused(await lab.tryUp())) refused(await lab.verb("repair", "--yes"));
  await wallet.refusedWith("MAIN_MISSING");
  await putSecretBack(wallet, paper);
  await wallet.verb("restore", "replica");
  await lab.up();
  await wallet.verb("repair", "--yes");
  await wallet.nothingIsLost();
  await checkIsContent(lab);
}

test.serial("a lab with spare disks and a witness on a host of its own", async (t) => {
  lab = await Lab.up({ name: "spare-disks", log: () => {} });
  wallet = new TwoCopies(lab, seed);
  paper = readFileSync(await node().path(wallet.secret));
  await wallet.commit("first", 5);
  await wallet.nothingIsLost();
  t.pass();
});

test.serial("[survival:hsm-secret] without hsm_secret the node stands still until it is put back", (t) =>
  secretIsLost(t, wallet, paper),
);

test.serial("[survival:lost-state] an up after Pulumi's state was lost leaves the running node alone", (t) =>
  stateIsLost(t, wallet),
);

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
  wallet.promised("network", /^until the link is back or \.\/twofold degrade replica/, /^\.\/twofold degrade replica$/);
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
    wallet.promised("replica-disk", /^until \.\/twofold degrade replica/, /^\.\/twofold degrade replica$/);
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
    declareDisks(wallet, vault, wallet.replica.mount, [disk("vault", "f")]);
    await isUp(vault);
    await lab.up();
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
    await checkIsContent(lab);
    await wallet.passed("survival:replica-disk");
    t.pass();
  },
);

test.serial("[survival:disk] a disk dies, the node goes on, and a new disk takes its place meanwhile", (t) =>
  diskDies(t, wallet, { dead: disk("alice", "b"), left: disk("alice", "a"), spare: disk("alice", "c") }),
);

test.serial(
  "[survival:disk-reboot] a disk dies and the host reboots: nothing starts until the disk is replaced by hand",
  (t) =>
    diskDiesBeforeReboot(t, wallet, { dead: disk("alice", "c"), left: disk("alice", "a"), spare: disk("alice", "d") }),
);

test.serial("[survival:two-disks] both disks die at once: everything comes back from the replica", async (t) => {
  wallet.promised(
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
  declareDisks(wallet, node(), mount, fresh);
  await isUp(node());
  await fromTheReplica();
  await wallet.passed("survival:two-disks");
});

test.serial(
  "[survival:node-host] [survival:site] the node's host and its disks are lost, and its site with them: a new host takes the replica",
  async (t) => {
    for (const failure of ["node-host", "site"] as const)
      wallet.promised(
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
    await newHost(node());
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
