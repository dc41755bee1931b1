/**
 * From a topology to the documents that the host program carries out: one a host and stage, fully known at preview, without secrets.
 */
import { STAGE_NAMES, type StageDocument } from "../../scripts/host/contract.ts";
import { alertsDocument } from "./documents/alerts.ts";
import { baseDocument } from "./documents/base.ts";
import { etcdDocument } from "./documents/etcd.ts";
import { lightningdDocument } from "./documents/lightningd.ts";
import { maintenanceDocument } from "./documents/maintenance.ts";
import { postgresDocument } from "./documents/postgres.ts";
import { replicaDocument } from "./documents/replica.ts";
import { retiredDocument } from "./documents/retired.ts";
import { storageDocument } from "./documents/storage.ts";
import { witnessDocument } from "./documents/witness.ts";
import type { Topology } from "./schema.ts";

/** Each gives nothing where the host has no part in its stage. */
const BUILDERS: ((topology: Topology, host: string) => StageDocument | undefined)[] = [
  baseDocument,
  storageDocument,
  maintenanceDocument,
  replicaDocument,
  witnessDocument,
  etcdDocument,
  postgresDocument,
  retiredDocument,
  lightningdDocument,
];

/** Documents of every host, by host name, each list in the order in which its stages are applied. Wants a topology that passed the rules. */
export function documentsOf(topology: Topology): Map<string, StageDocument[]> {
  return new Map(
    Object.keys(topology.hosts)
      .sort()
      .map((host) => [host, hostDocuments(topology, host)]),
  );
}

function hostDocuments(topology: Topology, host: string): StageDocument[] {
  const built = BUILDERS.map((build) => build(topology, host)).filter((document) => document !== undefined);
  const order = ({ stage }: StageDocument) => STAGE_NAMES.indexOf(stage);
  return [...built, alertsDocument(topology, host, built)].sort((a, b) => order(a) - order(b));
}
