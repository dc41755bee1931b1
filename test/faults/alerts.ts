/**
 * What a host says of itself when something is wrong (scripts/host/alerts). Its timer looks once a minute; these make it look at once, through
 * the very unit that the timer starts.
 */
import type { AlertCode } from "../../scripts/host/alerts/alert.ts";
import { type Alert, type History, lasting, NO_HISTORY } from "../../scripts/host/alerts/history.ts";
import { ALERTS } from "../../scripts/host/contract.ts";
import { ALERT_UNITS } from "../../templates/alerts.ts";
import { eventually } from "../helpers/lab.ts";
import type { Machine } from "./machine.ts";

/** Lets a host look at itself, and returns when it has. */
export async function lookNow(host: Machine): Promise<void> {
  await host.exec("systemctl", "start", ALERT_UNITS.service);
}

async function readHistory(host: Machine): Promise<History> {
  // A host on which nothing was ever wrong has no such file.
  const ran = await host.lab.tryExec(host.name, "cat", ALERTS.state);
  return ran.status === 0 ? (JSON.parse(ran.stdout) as History) : NO_HISTORY;
}

/** The alerts that last, by the host's last look. */
export async function alertsOf(host: Machine): Promise<Alert[]> {
  return lasting(await readHistory(host));
}

/** Looks again and again until there is an alert with this code, and returns it. */
export function awaitAlert(host: Machine, code: AlertCode, seconds: number, subject = /./): Promise<Alert> {
  return eventually(`${host.name} has an alert ${code}`, seconds, async () => {
    await lookNow(host);
    return (await alertsOf(host)).find((alert) => alert.code === code && subject.test(alert.subject));
  });
}

/** Looks again and again until there is no alert with this code. */
export async function awaitNoAlert(host: Machine, code: AlertCode, seconds: number): Promise<void> {
  await eventually(`the alert ${code} of ${host.name} is over`, seconds, async () => {
    await lookNow(host);
    return !(await alertsOf(host)).some((alert) => alert.code === code);
  });
}

/**
 * Lets what a host sees be older than it is, so that a test need not wait for what is told only after many minutes. What is not seen any more
 * at the next look is no alert, as ever.
 */
export async function ageAlerts(host: Machine, minutes: number): Promise<void> {
  await lookNow(host);
  const history = await readHistory(host);
  for (const alert of history.alerts) alert.since = new Date(Date.parse(alert.since) - minutes * 60_000).toISOString();
  await host.exec("sh", "-euc", 'printf "%s" "$1" > "$2"', "sh", JSON.stringify(history), ALERTS.state);
}
