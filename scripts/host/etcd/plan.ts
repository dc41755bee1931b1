/** What is to be done so that this host is a member of the consensus store. Pure. */
import { dirname } from "node:path";
import {
  etcdDataDirectory,
  etcdDefaultDirectory,
  renderAptHold,
  renderEtcdDefault,
  renderEtcdUnit,
} from "../../../templates/etcd.ts";
import { SNAPSHOT_UNITS } from "../../../templates/etcd-snapshot.ts";
import { type EtcdDocument, type Ownership, tlsFiles } from "../contract.ts";
import { type Listener, requireNoRebuild, requirePorts } from "../member-checks.ts";
import { planMemberVolume, requireCluster, requirePlace } from "../member-data.ts";
import {
  changesFile,
  planDirectory,
  planFile,
  planReload,
  planRunningUnit,
  planSymlink,
  ROOT_DIRECTORY,
} from "../planning.ts";
import { type CommonAction, type ItemName, Refusal } from "../stage.ts";
import { planKeyOwnership, requireCertificate } from "../tls/check.ts";
import { ETCD, type EtcdFacts } from "./facts.ts";
import { planSnapshots, snapshotItems } from "./snapshot-plan.ts";

/**
 * "set-aside" puts the data of a member that was removed out of the way. "make-data" decides, as late as it can, whether a store begins or the
 * member joins one that goes on without it. "start" and "restart" wait until the member answers together with a majority.
 */
export interface EtcdAction {
  kind: "etcd/set-aside" | "etcd/make-data" | "etcd/start" | "etcd/restart";
  item: ItemName;
  summary: string;
  consequence?: true;
}

const UNIT: ItemName = `unit:${ETCD.unit}`;
const ACCOUNT = "etcd";
export const DATA_OWNERSHIP: Ownership = { owner: ACCOUNT, group: ACCOUNT, mode: "0700" };

export function etcdItems(document: EtcdDocument): ItemName[] {
  const directory = etcdDataDirectory(document);
  return [
    `file:${ETCD.aptHold}`,
    `file:${ETCD.settings}`,
    `file:${ETCD.dropIn}`,
    ...ETCD.packages.map((name): ItemName => `package:${name}`),
    `key:${tlsFiles("etcd").key}`,
    ...(document.volume === undefined
      ? []
      : ([
          `file:${ETCD.volumeDropIn}`,
          `directory:${dirname(directory)}`,
          `symlink:${etcdDefaultDirectory(document.cluster)}`,
        ] as const)),
    `directory:${directory}`,
    ...snapshotItems(document),
    UNIT,
  ];
}

export function planEtcd(facts: EtcdFacts, document: EtcdDocument): (CommonAction | EtcdAction)[] {
  requireCertificate(document.identity, facts.certificateProblem);
  requirePlace(ETCD.unit, document, etcdDataDirectory(document), facts.data);
  requireCluster("etcd", ETCD.settings, facts.token, document);
  requirePorts(ETCD.unit, ownListeners(facts));
  requireNoRebuild(ETCD.unit, facts.rebuilding);
  if (!facts.data.holds && facts.known === undefined) requireFirst(facts.begun, document);
  refuseUnknownMembers(facts, document);
  const entry = (path: string) => facts.entries.get(path);
  const settings = planFile(ETCD.settings, entry(ETCD.settings), settingsOf(facts, document));
  const dropIn = [
    ...planFile(ETCD.dropIn, entry(ETCD.dropIn), renderEtcdUnit(document)),
    ...planMemberVolume(ETCD.volumeDropIn, entry(ETCD.volumeDropIn), document.volume),
  ];
  const snapshots = planSnapshots(facts.entries, document);
  return [
    ...planFile(ETCD.aptHold, entry(ETCD.aptHold), renderAptHold(ETCD.packages)),
    ...(entry(dirname(ETCD.dropIn)) === undefined
      ? planDirectory(dirname(ETCD.dropIn), undefined, ROOT_DIRECTORY)
      : []),
    // Before the packages, which start what they find: with these files and without a data directory nothing starts.
    ...dropIn,
    ...settings,
    ...ETCD.packages
      .filter((name) => !facts.installed.has(name))
      .map(
        (name): CommonAction => ({
          kind: "install-package",
          item: `package:${name}`,
          summary: `install package ${name}`,
          package: name,
        }),
      ),
    ...planKeyOwnership(tlsFiles("etcd").key, entry(tlsFiles("etcd").key), ACCOUNT),
    ...planData(facts, document),
    ...snapshots,
    ...planReload(UNIT, [...dropIn, ...snapshots], facts.unit?.needsReload === true),
    ...planRunningUnit(SNAPSHOT_UNITS.timer, facts.snapshotTimer),
    ...planRun(facts, [...settings, ...dropIn]),
  ];
}

/** A unit that is just starting listens already. */
function ownListeners({ unit, taken }: EtcdFacts): Listener[] {
  return taken.filter(({ pid }) => pid === 0 || pid !== unit?.mainPid);
}

/**
 * A store that begins says nothing of who was primary: whichever member is there first could become it, and the others would throw away what
 * they have more than it.
 * @throws {Refusal} where this cluster's store has begun before. Pure.
 */
export function requireFirst(begun: string | undefined, { host, cluster }: EtcdDocument): void {
  if (begun === undefined) return;
  throw new Refusal({
    code: "ETCD-STORE-LOST",
    what: `${host} has nothing of the store of ${cluster}, and no majority of the others answers`,
    received: begun,
    why: "a store that begins anew does not know which member has the newest commits: another one could become the primary, and they would be thrown away",
    fix: "bring a majority of etcd back if one still has its data, then run this again; if they have all lost it: ./twofold etcd rebuild",
  });
}

/** A member that the topology has lost sight of counts in every majority, whether it runs or not. */
function refuseUnknownMembers({ known }: EtcdFacts, { members, others }: EtcdDocument): void {
  const declared = new Set([...members.map(({ host }) => host), ...others]);
  const unknown = (known ?? []).filter(({ name }) => name !== "" && !declared.has(name));
  if (unknown.length === 0) return;
  throw new Refusal({
    code: "ETCD-UNKNOWN-MEMBER",
    what: "etcd has a member that the topology does not",
    received: unknown.map(({ name }) => name).join(", "),
    why: "it counts in every majority, so one more dead member could stop the cluster",
    fix: `if it is dead for good: ./twofold forget ${unknown[0]?.name}; if not, declare its host again under twofold:hosts, without naming it in members and etcd: pulumi up then takes it out in order`,
  });
}

/** In the settings of a member that joined a store which had begun. */
export const STATE_EXISTING = /^ETCD_INITIAL_CLUSTER_STATE=existing$/m;

/**
 * How a member began stays written as it was (etcd reads it never again): so a member that comes or goes changes no file of the
 * others, and restarts none of them.
 */
function settingsOf({ entries, data }: EtcdFacts, document: EtcdDocument): string {
  const present = entries.get(ETCD.settings)?.content ?? "";
  const state = STATE_EXISTING.test(present) ? "existing" : "new";
  const began = /^ETCD_INITIAL_CLUSTER=(.+)$/m.exec(present)?.[1];
  return renderEtcdDefault(document, state, data.holds ? began : undefined);
}

function planData(
  { entries, removed, data: { holds } }: EtcdFacts,
  document: EtcdDocument,
): (CommonAction | EtcdAction)[] {
  const directory = etcdDataDirectory(document);
  const begun = etcdDefaultDirectory(document.cluster);
  const found = entries.get(directory);
  const item: ItemName = `directory:${directory}`;
  const make: EtcdAction = {
    kind: "etcd/make-data",
    item,
    summary: `make directory ${directory}, and see whether the others know this member`,
  };
  const data: (CommonAction | EtcdAction)[] = removed
    ? [{ kind: "etcd/set-aside", item, summary: `put ${directory} aside: the others have removed this member` }, make]
    : found === undefined || (found.kind === "directory" && !holds)
      ? [make]
      : planDirectory(directory, found, DATA_OWNERSHIP);
  if (document.volume === undefined) return data;
  const parent = dirname(directory);
  return [
    ...planDirectory(parent, entries.get(parent), ROOT_DIRECTORY),
    ...data,
    ...planSymlink(begun, entries.get(begun), directory),
  ];
}

function planRun({ unit, healthy, newAuthority }: EtcdFacts, files: CommonAction[]): (CommonAction | EtcdAction)[] {
  const actions: (CommonAction | EtcdAction)[] = [];
  if (unit?.enabled !== "enabled")
    actions.push({
      kind: "enable-unit",
      item: UNIT,
      summary: `enable ${ETCD.unit}, now ${unit?.enabled || "not there"}`,
      unit: ETCD.unit,
    });
  const changed = files.some(changesFile);
  if (unit?.active !== "active" || !healthy) {
    // To be started again does nothing to a process that is there, and it would go on with the old settings.
    const again = (changed || newAuthority) && ["active", "activating"].includes(unit?.active ?? "");
    const now = unit?.active === "active" ? "without one" : (unit?.active ?? "not there");
    return [
      ...actions,
      {
        kind: again ? "etcd/restart" : "etcd/start",
        item: UNIT,
        summary: `${again ? "restart" : "start"} ${ETCD.unit} and wait for a majority, now ${now}`,
      },
    ];
  }
  if (changed || newAuthority)
    actions.push({
      kind: "etcd/restart",
      item: UNIT,
      summary: `restart ${ETCD.unit}, which reads ${changed ? "its settings" : "the authority of its clients"} at its start`,
      ...(changed ? { consequence: true as const } : {}),
    });
  return actions;
}
