/** Packages, the service account, the clock and the program that units use. */
import type { BaseDocument } from "../contract.ts";
import { refuseStrangers } from "../lightningd/strangers.ts";
import { planDirectory, planRunningUnit, planSymlink } from "../planning.ts";
import { type CommonAction, type ItemName, type OwnAction, Refusal } from "../stage.ts";
import { type BaseFacts, type Clock, CURRENT } from "./facts.ts";

/** Debian 13 is what everything is run on; the other two as far as README says. */
export const DISTRIBUTIONS = ["debian 13", "debian 12", "ubuntu 24.04"];

/** Waits until the clock is synchronised. */
export type AwaitClock = OwnAction & { kind: "base/await-clock" };
export type BaseAction = CommonAction | AwaitClock;

const CLOCK: ItemName = "clock:synchronised";
const NOLOGIN = "/usr/sbin/nologin";

export function baseItems(document: BaseDocument): ItemName[] {
  const { name, home } = document.user;
  return [
    ...document.packages.map((each): ItemName => `package:${each}`),
    `group:${name}`,
    `user:${name}`,
    `directory:${home}`,
    CLOCK,
    `symlink:${CURRENT}`,
  ];
}

export function planBase(facts: BaseFacts, document: BaseDocument): BaseAction[] {
  refuseDistribution(facts.distribution);
  refuseKernel(facts, document);
  // Again in their own stage: here before packages and volumes have changed the host.
  refuseStrangers(facts.strangers);
  return [
    ...planPackages(facts, document),
    ...planAccount(facts, document),
    ...planClock(facts.clock),
    ...planSymlink(CURRENT, facts.current, facts.program),
  ];
}

function refuseDistribution(distribution: string): void {
  if (DISTRIBUTIONS.includes(distribution)) return;
  throw new Refusal({
    code: "HOST-DISTRIBUTION",
    what: "this distribution is not supported",
    received: `${distribution} (/etc/os-release)`,
    why: "packages, paths and versions differ; what was not tested does not guard money",
    fix: `use one of: ${DISTRIBUTIONS.join(", ")}`,
  });
}

/** What a package needs of the kernel: a filesystem, or the module that brings it. */
const OF_THE_KERNEL: Record<string, { what: string; anyOf: string[] }> = {
  "nfs-common": { what: "mount a replica over NFS", anyOf: ["nfs4", "nfsv4"] },
  "nfs-kernel-server": { what: "serve a replica over NFS", anyOf: ["nfsd"] },
};

/** Here and not in the replica's stage, which comes after packages and volumes have changed the host. */
function refuseKernel({ kernel }: BaseFacts, { packages }: BaseDocument): void {
  for (const name of packages) {
    const needed = OF_THE_KERNEL[name];
    if (needed === undefined || needed.anyOf.some((each) => kernel.has.has(each))) continue;
    throw new Refusal({
      code: "HOST-NFS",
      what: `this host's kernel can't ${needed.what}`,
      received: `kernel ${kernel.release} without ${needed.anyOf.join(" or ")} in /proc/filesystems and /lib/modules`,
      why: "the replica would never be mounted, and lightningd does not start without its replica",
      fix: "use via: sshfs, or a kernel with NFS (a container has its host's; some cloud kernels leave it out)",
    });
  }
}

function planPackages(facts: BaseFacts, document: BaseDocument): BaseAction[] {
  return document.packages
    .filter((name) => !facts.installed.has(name))
    .map((name) => ({
      kind: "install-package",
      item: `package:${name}`,
      summary: `install package ${name}`,
      package: name,
    }));
}

/**
 * An account that is there is taken as it is: an operator who already runs a node has chosen its shell and home, and a login
 * must not be locked out.
 */
function planAccount(facts: BaseFacts, document: BaseDocument): BaseAction[] {
  const { name, home } = document.user;
  const actions: BaseAction[] = [];
  // What was deleted comes back under its number, which the files still have; under another one nobody could read the wallet.
  const left = facts.home && { uid: unnamed(facts.home.owner), gid: unnamed(facts.home.group) };
  const groupIsGone = facts.user !== undefined && facts.user.group === undefined && !facts.hasGroup;
  if (facts.user !== undefined && (facts.user.uid === 0 || (facts.user.group !== name && !groupIsGone))) {
    throw new Refusal({
      code: "HOST-ACCOUNT",
      what: `account '${name}' must be an ordinary one whose primary group is '${name}'`,
      received: `uid ${facts.user.uid}, primary group ${facts.user.group ?? "without a name"}`,
      why: "the wallet's files belong to exactly this user and group",
      fix: `usermod --gid ${name} ${name} after a look at what else it is used for, or remove the account`,
    });
  }
  if (!facts.hasGroup) {
    const gid = groupIsGone ? facts.user?.gid : left?.gid;
    const number = gid === undefined ? {} : { gid };
    const summary = `create system group ${name}`;
    actions.push({ kind: "create-group", item: `group:${name}`, summary, name, ...number });
  }
  if (facts.user === undefined) {
    const summary = `create system account ${name} without a login`;
    const number = left?.uid === undefined ? {} : { uid: left.uid };
    actions.push({ kind: "create-user", item: `user:${name}`, summary, name, home, shell: NOLOGIN, ...number });
  }
  // The home of an account that is there is its owner's; only a missing one is made.
  if (facts.home === undefined) {
    actions.push(...planDirectory(home, undefined, { owner: name, group: name, mode: "0750" }));
  }
  return actions;
}

/** The number in an owner's place, which has no name on this host. */
const unnamed = (owner: string): number | undefined => (/^\d+$/.test(owner) ? Number(owner) : undefined);

/** lightningd's timeouts, TLS and etcd's leases need a right clock; any of Debian's time services will do. */
function planClock(clock: Clock): BaseAction[] {
  if (clock.container) return [];
  const actions: BaseAction[] = [];
  const installed = [...clock.services].filter(([, unit]) => unit.load === "loaded");
  if (!installed.some(([, unit]) => unit.active === "active")) {
    const [service, unit] = installed[0] ?? ["systemd-timesyncd.service", undefined];
    if (unit === undefined) {
      actions.push({
        kind: "install-package",
        item: CLOCK,
        summary: "install package systemd-timesyncd: nothing keeps this host's clock",
        package: "systemd-timesyncd",
      });
    }
    actions.push(...planRunningUnit(service, unit).map((action) => ({ ...action, item: CLOCK })));
  }
  if (!clock.synchronised) {
    actions.push({ kind: "base/await-clock", item: CLOCK, summary: "wait for the clock to be synchronised" });
  }
  return actions;
}
