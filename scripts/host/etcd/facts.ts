/** What the etcd stage reads of a host. */
import { dirname } from "node:path";
import { etcdDataDirectory, etcdDefaultDirectory } from "../../../templates/etcd.ts";
import { SNAPSHOT_UNITS } from "../../../templates/etcd-snapshot.ts";
import { CLUSTER_PORTS, type EtcdDocument, TLS, tlsFiles } from "../contract.ts";
import { type DataPlace, readDataPlace } from "../member-data.ts";
import { run } from "../process.ts";
import { type Entry, readEntries, readPackages, readText, readUnits, type Unit } from "../read.ts";
import { readCertificateProblem } from "../tls/check.ts";
import { snapshotPaths } from "./snapshot-plan.ts";

export const ETCD = {
  unit: "etcd.service",
  packages: ["etcd-server", "etcd-client"],
  settings: "/etc/default/etcd",
  dropIn: "/etc/systemd/system/etcd.service.d/twofold.conf",
  volumeDropIn: "/etc/systemd/system/etcd.service.d/twofold-volume.conf",
  aptHold: "/etc/apt/apt.conf.d/60twofold-etcd",
} as const;

export interface EtcdFacts {
  entries: Map<string, Entry | undefined>;
  installed: Set<string>;
  unit: Unit | undefined;
  /** Why the host's certificate can't serve, undefined if it can. */
  certificateProblem: string | undefined;
  data: DataPlace;
  /** This member answers and its cluster has a majority. */
  healthy: boolean;
  snapshotTimer: Unit | undefined;
}

export function etcdPaths(document: EtcdDocument): string[] {
  const directory = etcdDataDirectory(document);
  return [
    ETCD.settings,
    dirname(ETCD.dropIn),
    ETCD.dropIn,
    ETCD.volumeDropIn,
    ETCD.aptHold,
    etcdDefaultDirectory(document.cluster),
    dirname(directory),
    directory,
    tlsFiles("etcd").key,
    ...snapshotPaths(document),
  ];
}

/** Words with which etcdctl reaches a member: this host's own, or others. */
export function etcdctlWords(endpoints = [`https://127.0.0.1:${CLUSTER_PORTS.etcdClient}`]): string[] {
  const { key, certificate } = tlsFiles("etcd");
  return [
    `--endpoints=${endpoints.join(",")}`,
    `--cacert=${TLS.ca}`,
    `--cert=${certificate}`,
    `--key=${key}`,
    "--dial-timeout=2s",
    "--command-timeout=4s",
  ];
}

/** True if this member answers a linearizable read, which takes a majority. */
export async function isHealthy(): Promise<boolean> {
  const { status } = await run("etcdctl", [...etcdctlWords(), "endpoint", "health"]);
  return status === 0;
}

export async function readEtcdFacts(document: EtcdDocument): Promise<EtcdFacts> {
  const settings = await readText(ETCD.settings);
  const configured = settings === undefined ? undefined : /^ETCD_DATA_DIR=(.+)$/m.exec(settings)?.[1];
  // The package's own settings name its own default, which is nobody's data here.
  const ours = configured?.endsWith(`/${document.cluster}`) ? configured : undefined;
  const [entries, installed, units, certificateProblem, data] = await Promise.all([
    readEntries(etcdPaths(document)),
    readPackages(ETCD.packages),
    readUnits([ETCD.unit, SNAPSHOT_UNITS.timer]),
    readCertificateProblem(document.identity),
    readDataPlace(document.volume, etcdDataDirectory(document), [etcdDefaultDirectory(document.cluster), ours]),
  ]);
  const unit = units.get(ETCD.unit);
  return {
    entries,
    installed,
    unit,
    certificateProblem,
    data,
    healthy: unit?.active === "active" && (await isHealthy()),
    snapshotTimer: units.get(SNAPSHOT_UNITS.timer),
  };
}
