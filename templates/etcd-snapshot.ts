/** Renders the units that take snapshots of the store. */
import { type EtcdDocument, STATE_DIRECTORY } from "../scripts/host/contract.ts";
import { fillTemplate } from "./load.ts";

export const SNAPSHOT_UNITS = {
  service: "twofold-etcd-snapshot.service",
  timer: "twofold-etcd-snapshot.timer",
} as const;
/** On the root disk, and not where the store itself lies. */
export const SNAPSHOT_DIRECTORY = `${STATE_DIRECTORY}/etcd-snapshots`;

export function snapshotUnitFiles({ cluster }: EtcdDocument): { path: string; content: string }[] {
  return [
    {
      path: `/etc/systemd/system/${SNAPSHOT_UNITS.service}`,
      content: fillTemplate(SNAPSHOT_UNITS.service, { cluster, directory: SNAPSHOT_DIRECTORY }),
    },
    { path: `/etc/systemd/system/${SNAPSHOT_UNITS.timer}`, content: fillTemplate(SNAPSHOT_UNITS.timer, { cluster }) },
  ];
}
