import type { MaintenanceDocument } from "../../../scripts/host/contract.ts";
import { volumesOf } from "../places.ts";
import type { Topology } from "../schema.ts";

/** Balance, scrub and device statistics of every volume of the host, or nothing where it has none. */
export function maintenanceDocument(topology: Topology, host: string): MaintenanceDocument | undefined {
  const mounts = volumesOf(topology, host).map(({ spec }) => spec.mount);
  if (mounts.length === 0) return undefined;
  const { balance, scrub, deviceStats } = topology.maintenance;
  return { stage: "maintenance", host, mounts, balance, scrub, deviceStats };
}
