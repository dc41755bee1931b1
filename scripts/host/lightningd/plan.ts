/** What is to be done so that lightningd is installed, configured and running as the document says. Pure. */
import { lightningdConfFiles } from "../../../templates/lightningd-conf.ts";
import { renderLightningdUnit } from "../../../templates/lightningd-unit.ts";
import { loadTemplate } from "../../../templates/load.ts";
import {
  hasPostgresWallet,
  hasSqliteWallet,
  LIGHTNINGD,
  type LightningdDocument,
  type Ownership,
  tlsFiles,
} from "../contract.ts";
import { canonicalJson } from "../json.ts";
import { planDirectory, planFile, planReload, ROOT_DIRECTORY, ROOT_FILE, ROOT_PROGRAM } from "../planning.ts";
import { type CommonAction, type ItemName, Refusal } from "../stage.ts";
import { planKeyOwnership, requireCertificate } from "../tls/check.ts";
import { DIRECTORIES, type LightningdFacts, networkDirectoryOf, walletFiles } from "./facts.ts";
import { type InstallAction, installItems, planInstall } from "./install/install.ts";
import { programsOf } from "./install/layout.ts";
import { withoutLibpq } from "./install/libpq.ts";
import { refuseStrangers } from "./strangers.ts";
import { isUp } from "./unit.ts";

interface Own {
  item: ItemName;
  summary: string;
  consequence?: true;
}

export type LightningdAction =
  | InstallAction
  /** Refuses when it is carried out and nothing is mounted there yet: the mount belongs to the storage stage. */
  | (Own & { kind: "lightningd/require-mount"; mount: string })
  /** Done only while the unit still runs the start `invocation`, so that it can be repeated; so is a restart. */
  | (Own & { kind: "lightningd/stop"; invocation: string })
  | (Own & { kind: "lightningd/set-journal-mode"; path: string })
  | (Own & { kind: "lightningd/start" })
  | (Own & { kind: "lightningd/restart"; invocation: string });

type Action = CommonAction | LightningdAction;

const UNIT_ITEM: ItemName = `unit:${LIGHTNINGD.unit}`;

/** Readable by lightningd, not by everybody: options may tell of the node's surroundings. */
function nodeFile(document: LightningdDocument): Ownership {
  return { owner: "root", group: document.group, mode: "0640" };
}

function unitOf(document: LightningdDocument) {
  return renderLightningdUnit(document, [
    programsOf(document.install),
    ...lightningdConfFiles(document).map(({ content }) => content),
  ]);
}

export function lightningdItems(document: LightningdDocument): ItemName[] {
  return [
    ...installItems(document.install),
    ...DIRECTORIES.map((path): ItemName => `directory:${path}`),
    ...lightningdConfFiles(document).map(({ path }): ItemName => `file:${path}`),
    `file:${LIGHTNINGD.gateDocument}`,
    `file:${LIGHTNINGD.startProgram}`,
    `directory:${networkDirectoryOf(document)}`,
    ...(hasPostgresWallet(document) ? [`key:${tlsFiles("node").key}` as const] : []),
    `file:${LIGHTNINGD.unitFile}`,
    ...walletFiles(document).map((path): ItemName => `journal-mode:${path}`),
    UNIT_ITEM,
  ];
}

export function planLightningd(facts: LightningdFacts, document: LightningdDocument): Action[] {
  refuseStrangers(facts.strangers);
  refuseSharedDisks(facts, document);
  if (facts.lacksLibpq) throw withoutLibpq(`${programsOf(document.install)}/lightningd`);
  if (hasPostgresWallet(document)) requireCertificate(document.wallet.identity, facts.certificateProblem);
  const install = planInstall(facts.install, document.install);
  const files = planFiles(facts, document);
  const unit = planFile(
    LIGHTNINGD.unitFile,
    facts.entries.get(LIGHTNINGD.unitFile),
    unitOf(document).content,
    ROOT_FILE,
  );
  const modes = planJournalModes(facts, document);
  return [
    ...facts.unmounted.map(requireMount),
    ...install,
    ...files,
    ...planNetworkDirectory(facts, document),
    ...planKey(facts, document),
    ...unit,
    ...planReload(UNIT_ITEM, unit, facts.unit.needsReload),
    ...planEnable(facts),
    ...planRun(facts, document, { changed: [...install, ...files, ...unit].some(isReadByLightningd), modes }),
  ];
}

function refuseSharedDisks({ sharedDisks }: LightningdFacts, { wallet }: LightningdDocument): void {
  if (sharedDisks.length === 0 || wallet.kind !== "sqlite") return;
  throw new Refusal({
    code: "replica-disk",
    what: "main and replica lie on the same disk",
    received: `${wallet.main} and ${wallet.replica?.path} share ${sharedDisks.join(", ")}`,
    why: "one dead disk would take both copies",
    fix: "put the replica on a volume over other disks, or on another host; another name or partition of one disk is that disk",
  });
}

/** Whether a running lightningd may have read what an action puts right; the gate's own files are read at the next start. */
function isReadByLightningd(action: Action): boolean {
  const files: string[] = [LIGHTNINGD.config, LIGHTNINGD.degradedConfig, LIGHTNINGD.unitFile];
  if (action.kind === "write-file") return files.includes(action.path);
  return action.kind === "lightningd/install" || action.kind === "make-symlink";
}

function requireMount(mount: string): LightningdAction {
  return {
    kind: "lightningd/require-mount",
    item: `mount:${mount}`,
    summary: `see that ${mount} is mounted`,
    mount,
    // It is the storage stage's item, and that stage reports it as drift.
    consequence: true,
  };
}

function planFiles(facts: LightningdFacts, document: LightningdDocument): CommonAction[] {
  const entry = (path: string) => facts.entries.get(path);
  const confs = lightningdConfFiles(document);
  const wanted = [...confs, { path: LIGHTNINGD.gateDocument, content: canonicalJson(document) }];
  const superfluous = !confs.some(({ path }) => path === LIGHTNINGD.degradedConfig) && entry(LIGHTNINGD.degradedConfig);
  return [
    ...DIRECTORIES.flatMap((path) => planDirectory(path, entry(path), ROOT_DIRECTORY)),
    ...wanted.flatMap(({ path, content }) => planFile(path, entry(path), content, nodeFile(document))),
    ...planFile(
      LIGHTNINGD.startProgram,
      entry(LIGHTNINGD.startProgram),
      loadTemplate("start-lightningd.sh"),
      ROOT_PROGRAM,
    ),
    ...(superfluous
      ? [
          {
            kind: "remove-file" as const,
            item: `file:${LIGHTNINGD.degradedConfig}` as const,
            summary: `remove ${LIGHTNINGD.degradedConfig}: the wallet has no replica any more`,
            path: LIGHTNINGD.degradedConfig,
          },
        ]
      : []),
  ];
}

/** Made only on the mounted volume: under it, it would be a second, empty node. */
function planNetworkDirectory(facts: LightningdFacts, document: LightningdDocument): CommonAction[] {
  if (facts.unmounted.length > 0) return [];
  const ownership = { owner: document.user, group: document.group, mode: "0700" };
  return planDirectory(networkDirectoryOf(document), facts.networkDirectory, ownership);
}

/** With it lightningd and the gate show who they are; libpq takes a key that root owns and its reader's group may read. */
function planKey(facts: LightningdFacts, document: LightningdDocument): CommonAction[] {
  if (!hasPostgresWallet(document)) return [];
  const { key } = tlsFiles("node");
  return planKeyOwnership(key, facts.entries.get(key), document.group);
}

function planEnable(facts: LightningdFacts): CommonAction[] {
  if (facts.unit.enabled === "enabled") return [];
  const summary = `enable ${LIGHTNINGD.unit}, now ${facts.unit.enabled || "not there"}`;
  return [{ kind: "enable-unit", item: UNIT_ITEM, summary, unit: LIGHTNINGD.unit }];
}

function planJournalModes(facts: LightningdFacts, document: LightningdDocument): LightningdAction[] {
  if (!hasSqliteWallet(document)) return [];
  return walletFiles(document).flatMap((path): LightningdAction[] => {
    const found = facts.journalModes[path];
    // An empty or foreign file is no wallet to convert: the gate refuses it with its reasons.
    if (found === undefined || found === "empty" || found === "foreign") return [];
    if (found === document.wallet.journalMode) return [];
    const summary = `set the journal mode of ${path} to ${document.wallet.journalMode}, now ${found}`;
    return [{ kind: "lightningd/set-journal-mode", item: `journal-mode:${path}`, summary, path }];
  });
}

/** Why a node that stands still is not started. Pure. */
export function awaitsOf({ awaits, unit }: LightningdFacts, document: LightningdDocument): string | undefined {
  if (awaits === undefined || isUp(unit)) return undefined;
  if (awaits === "init")
    return "lightningd is not started: ./twofold init gives a new node its first start; a node that existed is restored before";
  const { wallet } = document;
  const resync = wallet.kind === "sqlite" && wallet.replica ? ", ./twofold resync replica makes its replica" : "";
  return `lightningd is not started: no witness knows the wallet that lies here; ./twofold witness rebuild takes it on${resync}, ./twofold repair starts it then`;
}

function planRun(
  { unit, startedWith, awaits, unmounted }: LightningdFacts,
  document: LightningdDocument,
  { changed, modes }: { changed: boolean; modes: LightningdAction[] },
): LightningdAction[] {
  const start = (summary: string, consequence?: true): LightningdAction => ({
    kind: "lightningd/start",
    item: UNIT_ITEM,
    summary,
    ...(consequence ? { consequence } : {}),
  });
  // An `up` must not fail at a start of which it is known that the gate will refuse it.
  const mayStart = awaits === undefined && unmounted.length === 0;
  if (!isUp(unit)) return [...modes, ...(mayStart ? [start(`start ${LIGHTNINGD.unit}, now ${unit.active}`)] : [])];
  if (modes.length > 0) {
    const stop = "stop lightningd: the journal mode can be changed only while nobody has the wallet open";
    return [
      { kind: "lightningd/stop", item: UNIT_ITEM, summary: stop, invocation: unit.invocation, consequence: true },
      ...modes,
      start(`start ${LIGHTNINGD.unit} again`, true),
    ];
  }
  const outdated = startedWith !== undefined && startedWith !== unitOf(document).desired;
  if (!changed && !outdated) return [];
  return [
    {
      kind: "lightningd/restart",
      item: UNIT_ITEM,
      summary: outdated
        ? "restart lightningd: it runs with earlier settings"
        : "restart lightningd, which may have read what is put right here",
      invocation: unit.invocation,
      ...(changed ? { consequence: true as const } : {}),
    },
  ];
}
