/** How a host's members of etcd and PostgreSQL are, for `status`. */
import { X509Certificate } from "node:crypto";
import { CERTIFICATE_ROLES, type EtcdDocument, type PostgresDocument, tlsFiles } from "../contract.ts";
import { isHealthy } from "../etcd/facts.ts";
import { readText } from "../read.ts";
import { daysLeft } from "../tls/certificate.ts";
import { type FlushLatency, type MemberCopy, measureFlush, readCopy } from "./copy.ts";
import { type PatroniMember, readMembers, readPaused } from "./patroni.ts";
import { readSyncState, type SyncState } from "./sync-state.ts";

export interface ClusterStatus {
  /** The members as this host's Patroni sees them; undefined if it does not answer, or if the host has none. */
  members: PatroniMember[] | undefined;
  /** Somebody has told Patroni to leave PostgreSQL alone. */
  paused: boolean;
  /** Who has every acknowledged commit by etcd, where this host has a member of it that answers. */
  synchronous: SyncState | undefined;
  /** This host's part. */
  postgres: boolean;
  /** What this host's member has of the wallet; undefined if it does not answer, or if the host has none. */
  copy: MemberCopy | undefined;
  /** Of each standby, on the primary's host. */
  flush: FlushLatency[] | undefined;
  /** Whether this host's member of etcd answers with a majority; undefined if the host has none. */
  etcd: boolean | undefined;
  /** Whole days until each certificate of the host ends. */
  certificates: Partial<Record<(typeof CERTIFICATE_ROLES)[number], number>>;
}

export async function readClusterStatus(
  etcd: EtcdDocument | undefined,
  postgres: PostgresDocument | undefined,
): Promise<ClusterStatus> {
  const [members, paused = false, copy, majority, synchronous, certificates] = await Promise.all([
    postgres === undefined ? undefined : readMembers(),
    postgres === undefined ? undefined : readPaused(),
    postgres === undefined ? undefined : readCopy(postgres.node.role),
    etcd === undefined ? undefined : isHealthy(),
    etcd === undefined ? undefined : readSyncState(etcd.cluster),
    readCertificateDays(),
  ]);
  const isPrimary = members?.some(({ name, role }) => name === postgres?.host && role === "leader");
  const flush = isPrimary ? await measureFlush() : undefined;
  return {
    members,
    paused,
    synchronous,
    postgres: postgres !== undefined,
    copy,
    flush,
    etcd: majority,
    certificates,
  };
}

async function readCertificateDays(): Promise<ClusterStatus["certificates"]> {
  const now = new Date();
  const days: ClusterStatus["certificates"] = {};
  for (const role of CERTIFICATE_ROLES) {
    const text = await readText(tlsFiles(role).certificate);
    if (text !== undefined) days[role] = daysLeft(new X509Certificate(text), now);
  }
  return days;
}
