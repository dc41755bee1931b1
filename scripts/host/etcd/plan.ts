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
import { planMemberVolume, requirePlace } from "../member-data.ts";
import { planDirectory, planFile, planRunningUnit, planSymlink, ROOT_DIRECTORY } from "../planning.ts";
import type { CommonAction, ItemName } from "../stage.ts";
import { planKeyOwnership, requireCertificate } from "../tls/check.ts";
import { ETCD, type EtcdFacts } from "./facts.ts";
import { planSnapshots, snapshotItems } from "./snapshot-plan.ts";

/**
 * "make-data" decides, as late as it can, whether a store begins or the member joins one that goes on without it. "start" and "restart"
 * wait until the member answers together with a majority.
 */
export interface EtcdAction {
  kind: "etcd/make-data" | "etcd/start" | "etcd/restart";
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
    ...planReload(facts, [...dropIn, ...snapshots]),
    ...planRunningUnit(SNAPSHOT_UNITS.timer, facts.snapshotTimer),
    ...planRun(facts, [...settings, ...dropIn]),
  ];
}

/** A store that has begun is not begun again: what was written there once stays as it is (etcd ignores it then). */
function settingsOf({ entries }: EtcdFacts, document: EtcdDocument): string {
  const present = entries.get(ETCD.settings)?.content ?? "";
  return renderEtcdDefault(document, /^ETCD_INITIAL_CLUSTER_STATE=existing$/m.test(present) ? "existing" : "new");
}

function planData({ entries }: EtcdFacts, document: EtcdDocument): (CommonAction | EtcdAction)[] {
  const directory = etcdDataDirectory(document);
  const begun = etcdDefaultDirectory(document.cluster);
  const found = entries.get(directory);
  const data: (CommonAction | EtcdAction)[] =
    found !== undefined
      ? planDirectory(directory, found, DATA_OWNERSHIP)
      : [
          {
            kind: "etcd/make-data",
            item: `directory:${directory}`,
            summary: `make directory ${directory}, and see whether the others know this member`,
          },
        ];
  if (document.volume === undefined) return data;
  const parent = dirname(directory);
  return [
    ...planDirectory(parent, entries.get(parent), ROOT_DIRECTORY),
    ...data,
    ...planSymlink(begun, entries.get(begun), directory),
  ];
}

const changesFile = ({ kind }: CommonAction) => kind === "write-file" || kind === "remove-file";

function planReload(facts: EtcdFacts, dropIn: CommonAction[]): CommonAction[] {
  const written = dropIn.some(changesFile);
  if (!written && !facts.unit?.needsReload) return [];
  const summary = "let systemd read its units again";
  return [{ kind: "daemon-reload", item: UNIT, summary, ...(written ? { consequence: true as const } : {}) }];
}

function planRun({ unit, healthy }: EtcdFacts, files: CommonAction[]): (CommonAction | EtcdAction)[] {
  const actions: (CommonAction | EtcdAction)[] = [];
  if (unit?.enabled !== "enabled")
    actions.push({
      kind: "enable-unit",
      item: UNIT,
      summary: `enable ${ETCD.unit}, now ${unit?.enabled || "not there"}`,
      unit: ETCD.unit,
    });
  if (unit?.active !== "active" || !healthy)
    return [
      ...actions,
      {
        kind: "etcd/start",
        item: UNIT,
        summary: `start ${ETCD.unit} and wait for a majority, now ${unit?.active === "active" ? "without one" : (unit?.active ?? "not there")}`,
      },
    ];
  if (files.some(changesFile))
    actions.push({
      kind: "etcd/restart",
      item: UNIT,
      summary: `restart ${ETCD.unit}, which reads its settings at its start`,
      consequence: true,
    });
  return actions;
}
