/** Renders the files of the alerts stage. */
import { loadTemplate } from "./load.ts";

export const ALERT_UNITS = { service: "twofold-alerts.service", timer: "twofold-alerts.timer" } as const;

export function alertUnitFiles(): { path: string; content: string }[] {
  return Object.values(ALERT_UNITS).map((unit) => ({
    path: `/etc/systemd/system/${unit}`,
    content: loadTemplate(unit),
  }));
}
