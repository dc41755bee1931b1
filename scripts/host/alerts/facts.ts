/** What the alerts stage reads of a host. */
import { dirname } from "node:path";
import { ALERT_UNITS, alertUnitFiles } from "../../../templates/alerts.ts";
import { ALERTS, type AlertsDocument, STATE_DIRECTORY } from "../contract.ts";
import { type Entry, parseIds, readEntries, readText, readUnits, type Unit } from "../read.ts";
import { parsePasswd } from "../witness/facts.ts";

export interface AlertsFacts {
  entries: Map<string, Entry | undefined>;
  timer: Unit | undefined;
  service: Unit | undefined;
  /** The account that runs the operator's command: number of its group, undefined if there is no such account. */
  account: { gid: number } | undefined;
  /** Number of the group of the account's name. */
  group: number | undefined;
}

export const alertPaths = ({ command }: AlertsDocument): string[] => [
  STATE_DIRECTORY,
  ALERTS.directory,
  dirname(ALERTS.config),
  ALERTS.config,
  ...alertUnitFiles().map(({ path }) => path),
  ...(command === undefined ? [] : [command]),
];

export async function readAlertsFacts(document: AlertsDocument): Promise<AlertsFacts> {
  const [entries, units, passwd, groups] = await Promise.all([
    readEntries(alertPaths(document)),
    readUnits([ALERT_UNITS.service, ALERT_UNITS.timer]),
    readText("/etc/passwd"),
    readText("/etc/group"),
  ]);
  return {
    entries,
    timer: units.get(ALERT_UNITS.timer),
    service: units.get(ALERT_UNITS.service),
    account: parsePasswd(passwd ?? "").get(ALERTS.account),
    group: [...parseIds(groups ?? "")].find(([, name]) => name === ALERTS.account)?.[0],
  };
}
