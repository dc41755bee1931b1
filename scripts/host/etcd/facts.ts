/** What the etcd stage reads of a host. */
import { readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { etcdDataDirectory, etcdDefaultDirectory } from "../../../templates/etcd.ts";
import { SNAPSHOT_UNITS } from "../../../templates/etcd-snapshot.ts";
import { lastApplied } from "../applied.ts";
import { CLUSTER_PORTS, type EtcdDocument, REBUILDING, TLS, tlsFiles } from "../contract.ts";
import { type Listener, readListeners } from "../member-checks.ts";
import { type DataPlace, readDataPlace } from "../member-data.ts";
import { run } from "../process.ts";
import { type Entry, readEntries, readPackages, readText, readUnits, type Unit } from "../read.ts";
import { readCertificateProblem } from "../tls/check.ts";
import { etcdctlWords, type KnownMember, listMembers, memberOf, otherMembers } from "./members.ts";
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
  /** The cluster to which the settings on the host belong. */
  token: string | undefined;
  /** Programs of others at the member's ports; looked for only while its unit doesn't run. */
  taken: Listener[];
  /** Who is in the store, as a majority has it; undefined if there is none to ask. */
  known: KnownMember[] | undefined;
  /** The others have taken this member out: its data can't be used any more. */
  removed: boolean;
  /** The authority's certificate is newer than the process, which takes up the one of its clients at its start alone. */
  newAuthority: boolean;
  /** What shows that this cluster's store has begun before, in words. */
  begun: string | undefined;
  /** A store is being made anew, and nothing else may start one. */
  rebuilding: boolean;
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

/** The name of the cluster to which the settings of etcd belong; the package's own have none. */
export const tokenOf = (settings: string | undefined): string | undefined =>
  settings === undefined ? undefined : /^ETCD_INITIAL_CLUSTER_TOKEN="?([^"\n]+)"?$/m.exec(settings)?.[1];

/** Where the settings of etcd put its data. */
export const dataDirectoryOf = (settings: string | undefined): string | undefined =>
  settings === undefined ? undefined : /^ETCD_DATA_DIR=(.+)$/m.exec(settings)?.[1];

/** True if this member answers a linearizable read, which takes a majority. */
export async function isHealthy(): Promise<boolean> {
  const { status } = await run("etcdctl", [...etcdctlWords(), "endpoint", "health"]);
  return status === 0;
}

/** Of `systemctl show --timestamp=us+utc`, in milliseconds: the clock by which files have their times, unlike the one since boot. */
export function parseStart(text: string): number | undefined {
  const [, day, time] = /^ExecMainStartTimestamp=\S+ (\S+) (\S+) UTC$/m.exec(text) ?? [];
  return day === undefined ? undefined : Date.parse(`${day}T${time?.slice(0, 12)}Z`);
}

async function hasNewAuthority(): Promise<boolean> {
  const [found, shown] = await Promise.all([
    stat(TLS.ca).catch(() => undefined),
    run("systemctl", ["show", "--property=ExecMainStartTimestamp", "--timestamp=us+utc", ETCD.unit]),
  ]);
  const start = parseStart(shown.stdout);
  return found !== undefined && start !== undefined && found.mtimeMs > start;
}

/** What shows that the cluster's store has begun before: this host was made a member, or has its PostgreSQL data. */
export async function readBegun({ cluster, volume }: EtcdDocument): Promise<string | undefined> {
  const text = await lastApplied("etcd");
  if (text !== undefined && (JSON.parse(text) as EtcdDocument).cluster === cluster)
    return "this host was a member of it when twofold last was here";
  for (const parent of [volume, "/var/lib"].filter((each) => each !== undefined)) {
    const versions = join(parent, "postgresql");
    const names = await readdir(versions).catch(() => []);
    for (const name of names) {
      const data = join(versions, name, cluster);
      if ((await readText(join(data, "PG_VERSION"))) !== undefined) return `there is PostgreSQL data in ${data}`;
    }
  }
  return undefined;
}

export async function readEtcdFacts(document: EtcdDocument): Promise<EtcdFacts> {
  const settings = await readText(ETCD.settings);
  const configured = dataDirectoryOf(settings);
  // The package's own settings name its own default, which is nobody's data here.
  const ours = configured?.endsWith(`/${document.cluster}`) ? configured : undefined;
  const [entries, installed, units, certificateProblem, data, begun, rebuilding] = await Promise.all([
    readEntries(etcdPaths(document)),
    readPackages(ETCD.packages),
    readUnits([ETCD.unit, SNAPSHOT_UNITS.timer]),
    readCertificateProblem(document.identity),
    readDataPlace(document.volume, etcdDataDirectory(document), [etcdDefaultDirectory(document.cluster), ours]),
    readBegun(document),
    readText(REBUILDING),
  ]);
  const unit = units.get(ETCD.unit);
  const healthy = unit?.active === "active" && (await isHealthy());
  const known = !installed.has("etcd-client")
    ? undefined
    : await listMembers(healthy ? etcdctlWords() : otherMembers(document.members, document.host));
  const own = document.members.find(({ host }) => host === document.host);
  const removed = data.holds && !healthy && known !== undefined && own !== undefined && !memberOf(known, own);
  const taken =
    unit?.active === "active" ? [] : await readListeners([CLUSTER_PORTS.etcdClient, CLUSTER_PORTS.etcdPeer]);
  const token = tokenOf(settings);
  return {
    entries,
    installed,
    unit,
    certificateProblem,
    data,
    healthy,
    token,
    taken,
    known,
    removed,
    newAuthority: unit?.active === "active" && (await hasNewAuthority()),
    begun,
    rebuilding: rebuilding !== undefined,
    snapshotTimer: units.get(SNAPSHOT_UNITS.timer),
  };
}
