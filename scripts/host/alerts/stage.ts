import type { AlertsDocument } from "../contract.ts";
import type { Stage } from "../stage.ts";
import { type AlertsFacts, readAlertsFacts } from "./facts.ts";
import { alertItems, planAlerts } from "./plan.ts";

/** The timer that looks at this host once a minute, and what it has to know. */
export const alerts: Stage<AlertsDocument, AlertsFacts> = {
  items: alertItems,
  readFacts: readAlertsFacts,
  plan: planAlerts,
  async apply() {},
};
