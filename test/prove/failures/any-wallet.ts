/** What happens to a node's own volume, its secret and Pulumi's state, whatever the wallet is in. */
import type { ExecutionContext } from "ava";
import { meetsErrors, pullDisk } from "../../faults/disks.ts";
import type { Disk } from "../../faults/machine.ts";
import type { NodeUnderFaults } from "../../faults/node-under-faults.ts";
import {
  checkIsContent,
  declareDisks,
  devidOf,
  forgetStages,
  putSecretBack,
  replaceDisk,
} from "../../faults/operator.ts";
import { forgetDisks, killHost, powerOn } from "../../faults/power.ts";
import { lightningd } from "../../faults/processes.ts";

export const FIRST_SECONDS = 60;

export async function secretIsLost(t: ExecutionContext, wallet: NodeUnderFaults, paper: Buffer): Promise<void> {
  wallet.promised("hsm-secret", /^until hsm_secret is put back/, /^by hand: hsm_secret from its copy$/);
  await wallet.stop();
  await wallet.node.exec("rm", wallet.secret);
  await wallet.refusedWith("SECRET_MISSING");
  await putSecretBack(wallet, paper);
  await wallet.start();
  await wallet.nothingIsLost();
  await checkIsContent(wallet.lab);
  await wallet.passed("survival:hsm-secret");
  t.pass();
}

export async function stateIsLost(t: ExecutionContext, wallet: NodeUnderFaults): Promise<void> {
  wallet.promised("lost-state", /^does not stop$/, /^by itself$/);
  const pid = await lightningd(wallet.node);
  t.true((await forgetStages(wallet.lab)) >= 10, "there were stages to forget");
  t.regex(await wallet.lab.up(), /created/);
  t.is(await lightningd(wallet.node), pid, "the node was restarted");
  await checkIsContent(wallet.lab);
  await wallet.nothingIsLost();
  await wallet.passed("survival:lost-state");
}

/** @param left The volume's other disk. */
export async function diskDies(
  t: ExecutionContext,
  wallet: NodeUnderFaults,
  { dead, left, spare }: { dead: Disk; left: Disk; spare: Disk },
): Promise<void> {
  wallet.promised("disk", /^does not stop$/, /^by hand: btrfs replace, then balance to the profile$/);
  const { node, mount } = wallet;
  const pid = await lightningd(node);
  const recorder = await wallet.writer("disk");
  await recorder.more(3, FIRST_SECONDS);
  await pullDisk(dead);
  await recorder.more(3, FIRST_SECONDS);
  // A wallet in PostgreSQL writes next to nothing here, and BTRFS meets a dead disk only when it writes.
  await node.exec("touch", `${mount}/.touched`);
  await meetsErrors(node, mount, dead);
  await node.exec("rm", `${mount}/.touched`);
  await recorder.more(3, FIRST_SECONDS);
  await replaceDisk(node, mount, await devidOf(node, mount, dead), spare);
  await recorder.more(3, FIRST_SECONDS);
  await recorder.stop();
  wallet.keep(recorder);
  t.is(await lightningd(node), pid, "lightningd was restarted");
  declareDisks(wallet, node, mount, [left, spare]);
  await wallet.lab.up();
  await checkIsContent(wallet.lab);
  await wallet.nothingIsLost();
  t.is(await lightningd(node), pid, "lightningd was restarted");
  await wallet.passed("survival:disk");
}

/** @param left The volume's other disk. */
export async function diskDiesBeforeReboot(
  t: ExecutionContext,
  wallet: NodeUnderFaults,
  { dead, left, spare }: { dead: Disk; left: Disk; spare: Disk },
): Promise<void> {
  wallet.promised(
    "disk-reboot",
    /^until the disk is replaced/,
    /^by hand: mount degraded once, straight into btrfs replace$/,
  );
  const { node, mount } = wallet;
  const recorder = await wallet.writer("disk-reboot");
  await recorder.more(3, FIRST_SECONDS);
  await pullDisk(dead);
  await recorder.more(3, FIRST_SECONDS);
  await recorder.stop();
  wallet.keep(recorder);
  await killHost(node);
  await forgetDisks([left, dead]);
  const since = Date.now();
  await powerOn([node]);
  await wallet.waiting("NOT_MOUNTED", since);
  t.is(await node.exec("ls", "--almost-all", mount), "", "something was written below the mount point");

  await wallet.stop();
  await node.exec("mount", "-o", "degraded", mount);
  await replaceDisk(node, mount, await devidOf(node, mount, dead), spare);
  await node.exec("umount", mount);
  await node.exec("mount", mount);
  declareDisks(wallet, node, mount, [left, spare]);
  await wallet.lab.up();
  await wallet.verb("repair", "--yes");
  await wallet.nothingIsLost();
  await checkIsContent(wallet.lab);
  await wallet.passed("survival:disk-reboot");
}
