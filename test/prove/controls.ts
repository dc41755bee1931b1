/**
 * Negative controls: what must lose. A proof whose fault would lose nothing under any circumstances proves nothing, so each of these is
 * made in the same run, with the same writer, the same cut and the same reading of the disks.
 */
import { writeFileSync } from "node:fs";
import { ACCOUNT } from "../../components/topology/places.ts";
import { LIGHTNINGD } from "../../scripts/host/contract.ts";
import { readCopy } from "../faults/copies.ts";
import { nodeAnswers } from "../faults/gate.ts";
import { cutPower } from "../faults/power.ts";
import { Recorder } from "../faults/recorder.ts";
import type { Campaign } from "./campaign.ts";

const ANSWER_SECONDS = 60;
const COUNT = 20;
const CONTROL_UNIT = "lightningd-without-gate.service";
const DROP_IN = `/etc/systemd/system/${LIGHTNINGD.unit}.d/no-fsync.conf`;
/** Where Debian's package has it, for the dynamic linker to find by its platform. */
const LIBRARY = "libeatmydata.so";

/**
 * lightningd with every fsync turned into nothing, then a power cut of all hosts after an acknowledged commit.
 * @returns acknowledged labels that no copy has. The hosts stay off: this node is lost.
 */
export async function withoutFsync(campaign: Campaign): Promise<string[]> {
  const { node, topology } = campaign;
  await node.exec("apt-get", "update", "--quiet=2");
  await node.exec("apt-get", "install", "--quiet=2", "--yes", "libeatmydata1");
  await node.exec("mkdir", "--parents", DROP_IN.slice(0, DROP_IN.lastIndexOf("/")));
  writeFileSync(await node.path(DROP_IN), `[Service]\nEnvironment=LD_PRELOAD=${LIBRARY}\n`);
  await node.exec("systemctl", "daemon-reload");
  await node.exec("systemctl", "restart", LIGHTNINGD.unit);
  await nodeAnswers(node, topology, ANSWER_SECONDS);
  const maps = await node.exec("sh", "-c", 'cat "/proc/$(systemctl show --property=MainPID --value lightningd)/maps"');
  if (!maps.includes(LIBRARY)) throw new Error(`lightningd runs without ${LIBRARY}: the control has no effect`);
  // What lightningd did at its start is on the disk, so that the copies can be read.
  await Promise.all(campaign.hosts.map((host) => host.exec("sync")));
  const acknowledged = await acknowledge(campaign, "control-fsync");
  await cutPower(campaign.hosts);
  const copies = campaign.kind === "alone" ? [campaign.main] : [campaign.main, campaign.replica];
  const left = new Set((await Promise.all(copies.map(readCopy))).flatMap(({ labels }) => labels));
  return acknowledged.filter((label) => !left.has(label));
}

async function acknowledge({ node, topology }: Campaign, seed: string): Promise<string[]> {
  const recorder = await Recorder.start(node, topology, seed, COUNT);
  const status = await recorder.ended();
  await recorder.stop();
  if (status !== 0 || recorder.acknowledged.length !== COUNT)
    throw new Error(`the writer ended with ${status} and ${recorder.acknowledged.length} of ${COUNT} acknowledged`);
  return recorder.acknowledged.map(({ label }) => label);
}

/**
 * Main is missing and lightningd is started by hand, without the gate.
 * @returns invoices in the replica before and after. Both copies are put back then, and the node runs as before.
 */
export async function missingMainWithoutGate(campaign: Campaign): Promise<{ before: number; after: number }> {
  const { node, topology, main, replica } = campaign;
  await node.exec("systemctl", "stop", LIGHTNINGD.unit);
  const before = (await readCopy(replica)).labels.length;
  const kept = [main, replica].map(({ host, path }) => ({ host, path, aside: `${path}.kept` }));
  for (const { host, path, aside } of kept) await host.exec("cp", "--preserve=all", path, aside);
  await node.exec("rm", main.path);
  // As an operator would do it who starts lightningd beside the unit.
  const words = ["--quiet", `--unit=${CONTROL_UNIT}`, `--uid=${ACCOUNT.name}`, `--gid=${ACCOUNT.name}`];
  await node.exec("systemd-run", ...words, `${LIGHTNINGD.programs}/lightningd`, `--conf=${LIGHTNINGD.config}`);
  await nodeAnswers(node, topology, ANSWER_SECONDS);
  await node.exec("systemctl", "stop", CONTROL_UNIT);
  const after = (await readCopy(replica)).labels.length;
  for (const { host, path, aside } of kept) {
    await host.exec("rm", "--force", `${path}-wal`, `${path}-shm`, `${path}-journal`);
    await host.exec("mv", aside, path);
  }
  await node.exec("systemctl", "start", LIGHTNINGD.unit);
  await nodeAnswers(node, topology, ANSWER_SECONDS);
  return { before, after };
}
