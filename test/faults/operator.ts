/** What an operator does after a fault, as README's "When something is wrong" has it. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { ACCOUNT, networkDirectory } from "../../components/topology/places.ts";
import { diskName } from "../../stacks/lab-schema.ts";
import { eventually, type Lab } from "../helpers/lab.ts";
import { outputOf, type Ran } from "../helpers/run-program.ts";
import { newDisk } from "./disks.ts";
import { type Disk, local, type Machine } from "./machine.ts";
import { ANSWER_SECONDS, type NodeUnderFaults } from "./node-under-faults.ts";
import { forgetDisks } from "./power.ts";

/** Seconds for a host's units to be up after its power came back: a disk that does not come is waited for. */
const BOOT_SECONDS = 120;

/** One of all disks of a host, in use or not. */
export function diskOf(lab: Lab, host: string, name: string): Disk {
  const found = lab.facts.hosts[host]?.disks[name];
  if (found?.device == null) throw new Error(`${host} has no disk ${name}`);
  return { name, file: found.file, device: found.device };
}

/** Declares other disks for a host's volume. */
export function declareDisks(wallet: NodeUnderFaults, host: Machine, mount: string, disks: Disk[]): void {
  const { configFile } = wallet.lab.facts;
  const document = parse(readFileSync(configFile, "utf8"));
  const volume =
    mount === wallet.mount
      ? document.config["twofold:node"].volume
      : document.config["twofold:hosts"][host.name].volume;
  volume.devices = disks.map(({ name }) => diskName(host.name, name));
  writeFileSync(configFile, stringify(document));
  wallet.reread();
}

/** "A disk died": the number of the member that is gone (btrfs-filesystem(8)); until a reboot it goes by its device's name. */
export async function devidOf(host: Machine, mount: string, dead: Disk): Promise<string> {
  const shown = await host.exec("btrfs", "filesystem", "show", mount);
  const line = shown.split("\n").find((text) => /devid.*missing/i.test(text) || text.includes(` ${dead.device}`));
  const devid = /devid\s+(\d+)/.exec(line ?? "")?.[1];
  if (devid === undefined) throw new Error(`${dead.device} is no member: ${shown}`);
  return devid;
}

/** "A disk died": another one takes its place. */
export async function replaceDisk(host: Machine, mount: string, devid: string, by: Disk): Promise<void> {
  await host.exec("btrfs", "replace", "start", "-B", "-r", devid, diskName(host.name, by.name), mount);
  await host.exec("btrfs", "balance", "start", "-dconvert=raid1,soft", "-mconvert=raid1,soft", mount);
  await host.exec("btrfs", "scrub", "start", "-B", mount);
  const usage = await host.exec("btrfs", "filesystem", "usage", mount);
  const profiles = [...usage.matchAll(/^(?:Data|Metadata|System),([^:]+):/gm)].map(([, profile]) => profile);
  if (profiles.length !== 3 || profiles.some((profile) => profile !== "RAID1") || !/missing:\s+0\.00B/.test(usage))
    throw new Error(`the volume is not RAID-1 throughout: ${usage}`);
}

/** hsm_secret from its copy, into the directory that `up` has made for it. */
export async function putSecretBack({ node, topology, secret }: NodeUnderFaults, paper: Buffer): Promise<void> {
  const brought = `${networkDirectory(topology)}/.secret-from-paper`;
  writeFileSync(await node.path(brought), paper, { mode: 0o600 });
  const own = [`--owner=${ACCOUNT.name}`, `--group=${ACCOUNT.name}`, "--mode=0400"];
  await node.exec("install", ...own, brought, secret);
  await node.exec("rm", brought);
}

/**
 * Whether an up or a repair did all but start the node, since the gate refused that with this code and these words.
 * @throws if it failed otherwise
 */
export function isRefused({ status, stdout, stderr }: Ran, code: string, words: RegExp): boolean {
  const said = stdout + stderr;
  if (status !== 0 && !(said.includes(code) && words.test(said)))
    throw new Error(`it failed otherwise than by the gate's refusal: ${said}`);
  return status !== 0;
}

/** No host differs from the config. */
export async function checkIsContent(lab: Lab): Promise<void> {
  await eventually("check finds nothing", ANSWER_SECONDS, async () => {
    const ran = await lab.verb("check");
    if (ran.status !== 0) throw new Error(ran.stdout + ran.stderr);
    return true;
  });
}

/** A host that was turned on can be reached. */
export const isUp = ({ lab, name }: Machine): Promise<boolean> =>
  eventually(`${name} can be reached`, BOOT_SECONDS, async () => {
    return (await lab.tryExec(name, "systemctl", "is-active", "ssh")).status === 0;
  });

/**
 * Takes the stages from Pulumi's state, as if that had been lost. The containers are resources of the lab's state too, and stay in it.
 * @returns how many were forgotten
 */
export async function forgetStages(lab: Lab): Promise<number> {
  const exported = JSON.parse(outputOf(await lab.pulumi(["stack", "export"]))) as {
    deployment: { resources: { type: string }[] };
  };
  const before = exported.deployment.resources.length;
  exported.deployment.resources = exported.deployment.resources.filter(({ type }) => !type.startsWith("command:"));
  const file = join(lab.facts.directory, "state.json");
  writeFileSync(file, JSON.stringify(exported));
  outputOf(await lab.pulumi(["stack", "import", "--file", file]));
  return before - exported.deployment.resources.length;
}

/** A new machine in the place of a host that is off: nothing of the old one is left, neither its root disk nor its volumes. */
export async function newHost({ lab, container, disks }: Machine): Promise<void> {
  await local("docker", "rm", "--volumes", container);
  for (const disk of disks) await newDisk(disk);
  await forgetDisks(disks);
  // Only the lab has to look: a real host that was made anew has another key, which the operator writes into the config.
  outputOf(await lab.pulumi(["refresh", "--yes", "--skip-preview", "--non-interactive"]));
}
