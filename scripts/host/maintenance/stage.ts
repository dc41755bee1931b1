/** Regular care of BTRFS volumes: balance, scrub, a look at the devices' error counters. */
import { loadTemplate } from "../../../templates/load.ts";
import { INTO_JOURNAL, renderMaintenanceCron } from "../../../templates/maintenance-cron.ts";
import type { MaintenanceDocument } from "../contract.ts";
import { planFile, planRunningUnit, ROOT_PROGRAM } from "../planning.ts";
import { type Entry, readEntries, readUnits, type Unit } from "../read.ts";
import type { CommonAction, Stage } from "../stage.ts";

export interface MaintenanceFacts {
  cron: Entry | undefined;
  intoJournal: Entry | undefined;
  service: Unit | undefined;
}

/** No dot in the name: cron passes over files that have one. */
const CRON = "/etc/cron.d/twofold";
const SERVICE = "cron.service";

/** Pure. Needs no reload: cron looks at its directory each minute (cron(8)). */
export function planMaintenance(facts: MaintenanceFacts, document: MaintenanceDocument): CommonAction[] {
  return [
    ...planFile(INTO_JOURNAL, facts.intoJournal, loadTemplate("into-journal.sh"), ROOT_PROGRAM),
    ...planFile(CRON, facts.cron, renderMaintenanceCron(document)),
    ...planRunningUnit(SERVICE, facts.service),
  ];
}

export const maintenance: Stage<MaintenanceDocument, MaintenanceFacts> = {
  items: () => [`file:${INTO_JOURNAL}`, `file:${CRON}`, `unit:${SERVICE}`],
  async readFacts() {
    const [entries, units] = await Promise.all([readEntries([CRON, INTO_JOURNAL]), readUnits([SERVICE])]);
    return { cron: entries.get(CRON), intoJournal: entries.get(INTO_JOURNAL), service: units.get(SERVICE) };
  },
  plan: planMaintenance,
  async apply() {},
};
