/** Root's cron entries for BTRFS volumes. */
import { type MaintenanceDocument, PROGRAM_DIRECTORY } from "../scripts/host/contract.ts";
import { fillTemplate } from "./load.ts";

/** Runs a command with its output and result in the journal; cron itself would drop the status. */
export const INTO_JOURNAL = `${PROGRAM_DIRECTORY}/into-journal`;

/**
 * The text of /etc/cron.d/twofold. Balance and scrub are the commands of Core Lightning's backup document, word for word; what
 * stands before them brings their result to the journal.
 */
export function renderMaintenanceCron(document: Omit<MaintenanceDocument, "stage" | "host">): string {
  const entry = (schedule: string, name: string, mount: string, command: string) =>
    `${schedule} root ${INTO_JOURNAL} ${name} ${mount} ${command} ${mount}`;
  const entries = document.mounts.flatMap((mount) => [
    entry(document.balance, "balance", mount, "/usr/bin/btrfs balance start -dusage=50 -dlimit=2 -musage=50 -mlimit=4"),
    entry(document.scrub, "scrub", mount, "/usr/bin/btrfs scrub start -B -c 2 -n 4"),
    entry(document.deviceStats, "device-stats", mount, "/usr/bin/btrfs device stats --check"),
  ]);
  return fillTemplate("twofold.cron", { entries: entries.join("\n") });
}
