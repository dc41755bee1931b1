/** What is to be done so that this host looks at itself and tells of what it sees. Pure. */
import { dirname } from "node:path";
import { ALERT_UNITS, alertUnitFiles } from "../../../templates/alerts.ts";
import { ALERTS, type AlertsDocument, STATE_DIRECTORY } from "../contract.ts";
import { canonicalJson } from "../json.ts";
import { planDirectory, planFile, planReload, planRunningUnit, ROOT_DIRECTORY } from "../planning.ts";
import { type CommonAction, type ItemName, Refusal } from "../stage.ts";
import type { AlertsFacts } from "./facts.ts";

const TIMER: ItemName = `unit:${ALERT_UNITS.timer}`;

export function alertItems(): ItemName[] {
  return [
    `group:${ALERTS.account}`,
    `user:${ALERTS.account}`,
    `directory:${ALERTS.directory}`,
    `file:${ALERTS.config}`,
    ...alertUnitFiles().map(({ path }): ItemName => `file:${path}`),
    TIMER,
  ];
}

export function planAlerts(facts: AlertsFacts, document: AlertsDocument): CommonAction[] {
  const { entries } = facts;
  requireCommand(facts, document);
  const missing = (path: string) =>
    entries.get(path) === undefined ? planDirectory(path, undefined, ROOT_DIRECTORY) : [];
  const units = alertUnitFiles().flatMap(({ path, content }) => planFile(path, entries.get(path), content));
  return [
    ...planAccount(facts),
    ...missing(STATE_DIRECTORY),
    ...planDirectory(ALERTS.directory, entries.get(ALERTS.directory), ROOT_DIRECTORY),
    ...missing(dirname(ALERTS.config)),
    ...planFile(ALERTS.config, entries.get(ALERTS.config), canonicalJson(document)),
    ...units,
    ...planReload(
      TIMER,
      units,
      [facts.timer, facts.service].some((unit) => unit?.needsReload),
    ),
    ...planRunningUnit(ALERT_UNITS.timer, facts.timer),
  ];
}

/** A command that is not there would be found out on the day on which it is needed. */
function requireCommand({ entries }: AlertsFacts, { command }: AlertsDocument): void {
  if (command === undefined) return;
  const found = entries.get(command);
  // What a symlink points to is found when it is called; ./twofold alerts test does that.
  if (found?.kind === "symlink") return;
  const runnable = found?.kind === "file" && (Number.parseInt(found.mode, 8) & 0o001) !== 0;
  if (runnable) return;
  throw new Refusal({
    code: "ALERT-COMMAND",
    what: "the alert command can't be run on this host",
    received: `${command}: ${found === undefined ? "there is nothing" : `a ${found.kind}, ${found.owner}:${found.group} ${found.mode}`}`,
    why: `account ${ALERTS.account} calls it when something is wrong; nobody would be told`,
    fix: `put the program there with mode 0755, or take 'command' out of twofold:alerts; then run this again`,
  });
}

function planAccount({ account, group }: AlertsFacts): CommonAction[] {
  const name = ALERTS.account;
  const actions: CommonAction[] = [];
  // A group that was deleted comes back under the number that the account still has.
  if (group === undefined)
    actions.push({
      ...{ kind: "create-group", item: `group:${name}`, summary: `create system group ${name}`, name },
      ...(account === undefined ? {} : { gid: account.gid }),
    });
  if (account === undefined)
    actions.push({
      ...{ kind: "create-user", item: `user:${name}`, summary: `create system account ${name} without a login`, name },
      home: "/nonexistent",
      shell: "/usr/sbin/nologin",
    });
  return actions;
}
