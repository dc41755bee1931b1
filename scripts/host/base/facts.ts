/** What the base stage has to know of a host. */
import { basename } from "node:path";
import { type BaseDocument, PROGRAM_DIRECTORY } from "../contract.ts";
import { type Kernel, readKernel } from "../kernel.ts";
import { readStrangers } from "../lightningd/strangers.ts";
import { must, run } from "../process.ts";
import { type Entry, readEntries, readPackages, readText, readUnits, type Unit } from "../read.ts";

export interface BaseFacts {
  /** ID and VERSION_ID of /etc/os-release: "debian 13". */
  distribution: string;
  /** Those of the document's packages that are installed. */
  installed: Set<string>;
  /** Names of the local accounts. */
  user: { uid: number; gid: number; group: string | undefined } | undefined;
  hasGroup: boolean;
  home: Entry | undefined;
  /** The bundle that runs now, and where units and cron find one. */
  program: string;
  current: Entry | undefined;
  clock: Clock;
  kernel: Kernel;
  /** On the node's host: config and unit of a lightningd that is not twofold's. */
  strangers: string[];
}

export interface Clock {
  /** A container has its host's clock and cannot set it. */
  container: boolean;
  /** Time services, installed or not (systemd-timesyncd, chrony, ntpsec, openntpd). */
  services: Map<string, Unit>;
  synchronised: boolean;
}

export const CURRENT = `${PROGRAM_DIRECTORY}/current`;
export const TIME_SERVICES = ["systemd-timesyncd.service", "chrony.service", "ntpsec.service", "openntpd.service"];

/** ID and VERSION_ID of os-release(5). */
export function parseDistribution(text: string): string {
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, key, value] = /^([A-Z_]+)=["']?(.*?)["']?$/.exec(line.trim()) ?? [];
    if (key !== undefined && value !== undefined) values.set(key, value);
  }
  return `${values.get("ID") ?? "unknown"} ${values.get("VERSION_ID") ?? ""}`.trim();
}

/** One account of passwd(5), with the name of its primary group from group(5). */
export function parseUser(passwd: string, group: string, name: string): BaseFacts["user"] {
  const fields = passwd
    .split("\n")
    .map((line) => line.split(":"))
    .find(([each]) => each === name);
  if (fields === undefined) return undefined;
  const primary = group
    .split("\n")
    .map((line) => line.split(":"))
    .find(([, , id]) => id === fields[3]);
  return { uid: Number(fields[2]), gid: Number(fields[3]), group: primary?.[0] };
}

export const hasGroup = (group: string, name: string): boolean =>
  group.split("\n").some((line) => line.startsWith(`${name}:`));

async function readClock(): Promise<Clock> {
  const [container, services] = await Promise.all([
    run("systemd-detect-virt", ["--container"]),
    readUnits(TIME_SERVICES),
  ]);
  if (container.status === 0) return { container: true, services, synchronised: true };
  const shown = await must("timedatectl", ["show", "--property=NTPSynchronized", "--value"]);
  return { container: false, services, synchronised: shown.trim() === "yes" };
}

export async function readBaseFacts(document: BaseDocument): Promise<BaseFacts> {
  const { name, home } = document.user;
  const [osRelease, passwd, group, installed, entries, clock, kernel, strangers] = await Promise.all([
    readText("/etc/os-release"),
    readText("/etc/passwd"),
    readText("/etc/group"),
    readPackages(document.packages),
    readEntries([home, CURRENT]),
    readClock(),
    readKernel(),
    document.node === undefined ? [] : readStrangers(),
  ]);
  return {
    distribution: parseDistribution(osRelease ?? ""),
    installed,
    user: parseUser(passwd ?? "", group ?? "", name),
    hasGroup: hasGroup(group ?? "", name),
    home: entries.get(home),
    program: basename(process.argv[1] ?? ""),
    current: entries.get(CURRENT),
    clock,
    kernel,
    strangers,
  };
}
