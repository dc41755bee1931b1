/** What the postgres stage reads of a host. */
import { dirname } from "node:path";
import { loadTemplate } from "../../../templates/load.ts";
import { dataDirectory, dynamicConfiguration } from "../../../templates/patroni.ts";
import { type PostgresDocument, REBUILDING, tlsFiles } from "../contract.ts";
import { type Clock, readClocks } from "../member-checks.ts";
import { type DataPlace, readDataPlace } from "../member-data.ts";
import { type Entry, readEntries, readPackages, readText, readUnits, type Unit } from "../read.ts";
import { readCertificateProblem } from "../tls/check.ts";
import { readOtherCertificate } from "../tls/shown.ts";
import { type Beginning, readBeginning } from "./beginning.ts";
import { isRunningPrimary, type PatroniMember, readDynamicConfiguration, readMembers, takesPart } from "./patroni.ts";
import { psql } from "./psql.ts";

export const POSTGRES = {
  unit: "patroni.service",
  config: "/etc/patroni/config.yml",
  dropIn: "/etc/systemd/system/patroni.service.d/twofold.conf",
  volumeDropIn: "/etc/systemd/system/patroni.service.d/twofold-volume.conf",
  createCluster: "/etc/postgresql-common/createcluster.conf",
  aptHold: "/etc/apt/apt.conf.d/60twofold-postgres",
} as const;

/** python3-etcd is what Patroni speaks to etcd with; the package only recommends it. */
export const packagesOf = (version: number): string[] => [
  `postgresql-${version}`,
  `postgresql-client-${version}`,
  "patroni",
  "python3-etcd",
];

/** Roles and database as the primary has them. */
export interface RoleFacts {
  roles: Record<
    string,
    {
      login: boolean;
      powers: boolean;
      limit: number;
      settings: string[];
      /** Settings of the role for one database, in words. */
      inDatabases: string[];
      grants: string[];
    }
  >;
  /** Of the node's database; null if there is none. */
  owner: string | null;
  /** Whether every role may connect to it. */
  public: boolean | null;
}

export interface PostgresFacts {
  entries: Map<string, Entry | undefined>;
  installed: Set<string>;
  unit: Unit | undefined;
  certificateProblem: string | undefined;
  data: DataPlace;
  /** The cluster to which the settings on the host belong. */
  scope: string | undefined;
  /** The cluster's store is being made anew, and nothing else may start a member. */
  rebuilding: boolean;
  /** Undefined for a member that takes part. */
  beginning: Beginning | undefined;
  clocks: Clock[];
  /** Ports that show another certificate than the one on the disk: it was renewed, and they were not told. */
  otherCertificate: number[];
  /** Undefined while this host's Patroni does not answer. */
  members: PatroniMember[] | undefined;
  /** What etcd has; undefined if this host is not the primary. */
  dynamic: unknown;
  /** Undefined if this host is not the primary. */
  roles: RoleFacts | undefined;
  /** Settings of {@link dynamicConfiguration} that this member's own ALTER SYSTEM puts another value before, as "fsync=off". */
  overridden: string[];
}

/** Directories on the volume above the data, parents first. Patroni itself makes, removes and renames the data directory. */
export function postgresParents(document: PostgresDocument): string[] {
  const parent = dirname(dataDirectory(document));
  return document.volume === undefined ? [] : [dirname(parent), parent];
}

export function postgresPaths(document: PostgresDocument): string[] {
  return [
    POSTGRES.createCluster,
    dirname(POSTGRES.createCluster),
    POSTGRES.aptHold,
    POSTGRES.config,
    dirname(POSTGRES.config),
    POSTGRES.dropIn,
    POSTGRES.volumeDropIn,
    dirname(POSTGRES.dropIn),
    ...postgresParents(document),
    tlsFiles("postgres").key,
  ];
}

async function readRoles({ node }: PostgresDocument): Promise<RoleFacts> {
  const text = await psql(loadTemplate("postgres-role-facts.sql"), { role: node.role, gate: node.gateRole });
  return JSON.parse(text) as RoleFacts;
}

async function readOverridden(document: PostgresDocument): Promise<string[]> {
  const names = Object.keys(dynamicConfiguration(document).postgresql.parameters).join(",");
  return JSON.parse(await psql(loadTemplate("postgres-overridden.sql"), { names })) as string[];
}

export async function readPostgresFacts(document: PostgresDocument): Promise<PostgresFacts> {
  const config = await readText(POSTGRES.config);
  const configured = config === undefined ? undefined : /^ +data_dir: (.+)$/m.exec(config)?.[1];
  const { volume, ...onRoot } = document;
  const [entries, installed, units, certificateProblem, data, clocks, members, rebuilding, otherCertificate] =
    await Promise.all([
      readEntries(postgresPaths(document)),
      readPackages(packagesOf(document.version)),
      readUnits([POSTGRES.unit]),
      readCertificateProblem(document.identity),
      readDataPlace(volume, dataDirectory(document), [dataDirectory(onRoot), configured]),
      readClocks(
        document.etcd.filter(({ host }) => host !== document.host),
        "postgres",
      ),
      readMembers(),
      readText(REBUILDING),
      readOtherCertificate(),
    ]);
  const own = members?.find(({ name }) => name === document.host);
  const isPrimary = own !== undefined && isRunningPrimary(own);
  const [dynamic, roles] = isPrimary ? await Promise.all([readDynamicConfiguration(), readRoles(document)]) : [];
  const unit = units.get(POSTGRES.unit);
  const takesItsPart = own !== undefined && takesPart(own);
  const overridden = takesItsPart ? await readOverridden(document) : [];
  return {
    entries,
    installed,
    unit,
    certificateProblem,
    data,
    scope: scopeOf(config),
    rebuilding: rebuilding !== undefined,
    beginning: takesItsPart ? undefined : await readBeginning(document, unit?.active === "active"),
    clocks,
    otherCertificate,
    members,
    dynamic,
    roles,
    overridden,
  };
}

/** The name of the cluster to which the settings of Patroni belong. */
export const scopeOf = (config: string | undefined): string | undefined =>
  config === undefined ? undefined : /^scope: "?([^"\n]+)"?$/m.exec(config)?.[1];
