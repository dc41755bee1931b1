/** The mount of a replica that lies on another host. */
import { REPLICA_UNIT } from "../../../../templates/replica.ts";
import type { ReplicaDocument } from "../../contract.ts";
import { type Mount, mountAt, readMounts, readUnits, type Unit } from "../../read.ts";
import type { Condition } from "../alert.ts";

export function judgeReplica(
  { directory, remote }: Pick<ReplicaDocument, "directory" | "remote">,
  mount: Mount | undefined,
  unit: Unit | undefined,
): Condition[] {
  if (remote === undefined) return [];
  const state = unit === undefined ? "not there" : `${unit.active}, ${unit.sub}`;
  if (mount !== undefined && unit?.active === "active") return [];
  const value = `${mount === undefined ? "nothing is mounted there" : "its mount is not up yet, or ending"}; ${REPLICA_UNIT} is ${state}`;
  return [{ code: "REPLICA_NOT_MOUNTED", subject: `${directory}, the replica on ${remote.host}`, value }];
}

/** Asks the kernel and systemd, never the mount: one whose host is gone may not answer. */
export async function lookAtReplica(document: ReplicaDocument): Promise<Condition[]> {
  const [mounts, units] = await Promise.all([readMounts(), readUnits([REPLICA_UNIT])]);
  return judgeReplica(document, mountAt(mounts, document.directory), units.get(REPLICA_UNIT));
}
