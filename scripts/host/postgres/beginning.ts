/** Whether this host's data and the cluster that it is to join belong together. Looked at only while the member takes no part. */
import { binDirectory, dataDirectory } from "../../../templates/patroni.ts";
import { CLUSTER_PORTS, type PostgresDocument } from "../contract.ts";
import { type Listener, readFreeBytes, readListeners, readPostmaster, requirePorts } from "../member-checks.ts";
import { run } from "../process.ts";
import { readText } from "../read.ts";
import { Refusal } from "../stage.ts";
import { POSTGRES } from "./facts.ts";
import { askPatroni, type PatroniMember, readMembersFrom } from "./patroni.ts";

export interface Beginning {
  /** Programs of others at the member's ports. */
  taken: Listener[];
  /** Of this host's data; undefined where there is none. */
  own: { version: number | undefined; systemIdentifier: string | undefined } | undefined;
  /** What the other members that run say of the cluster. */
  cluster: { host: string; version: number | undefined; systemIdentifier: string | undefined }[];
  /** As one of the others has them; undefined while none answers. */
  members: PatroniMember[] | undefined;
  /** On the filesystem of the data directory. */
  freeBytes: number;
}

/** What a standby that is away may keep on the primary (max_slot_wal_keep_size) and what checkpoints may leave (max_wal_size). */
export const NEEDED_BYTES = 3 * 2 ** 30;

/** Of `pg_controldata`. */
export const parseSystemIdentifier = (text: string): string | undefined =>
  /^Database system identifier:\s+(\d+)$/m.exec(text)?.[1];

interface PatroniAnswer {
  server_version?: number;
  database_system_identifier?: string;
}

export async function readBeginning(document: PostgresDocument, active: boolean): Promise<Beginning> {
  const directory = dataDirectory(document);
  const others = document.members.filter(({ host }) => host !== document.host);
  const [postmaster, listeners, version, control, freeBytes, answers, members] = await Promise.all([
    readPostmaster(directory),
    readListeners([CLUSTER_PORTS.postgres, ...(active ? [] : [CLUSTER_PORTS.patroni])]),
    readText(`${directory}/PG_VERSION`),
    run(`${binDirectory(document.version)}/pg_controldata`, [directory]),
    readFreeBytes(directory),
    Promise.all(others.map(({ address }) => askPatroni<PatroniAnswer>("GET", "/patroni", undefined, 2000, address))),
    readMembersFrom(others.map(({ address }) => address)),
  ]);
  return {
    // The member's own server may run without Patroni, which then takes it up again.
    taken: listeners.filter(({ port, pid }) => port !== CLUSTER_PORTS.postgres || pid !== postmaster),
    own:
      version === undefined
        ? undefined
        : { version: Number(version), systemIdentifier: parseSystemIdentifier(control.stdout) },
    cluster: others.flatMap(({ host }, index) => {
      const value = answers[index]?.value;
      if (typeof value !== "object") return [];
      const { server_version, database_system_identifier } = value;
      const major = server_version === undefined ? undefined : Math.floor(server_version / 10_000);
      return [{ host, version: major, systemIdentifier: database_system_identifier }];
    }),
    members,
    freeBytes,
  };
}

/** @throws {Refusal} if the member must not begin. Pure. */
export function requireBeginning(found: Beginning | undefined, document: PostgresDocument): void {
  if (found === undefined) return;
  requirePorts(POSTGRES.unit, found.taken);
  const directory = dataDirectory(document);
  const { own, cluster } = found;
  const otherVersion = [
    ...(own === undefined ? [] : [{ where: directory, version: own.version }]),
    ...cluster.map(({ host, version }) => ({ where: host, version })),
  ].find(({ version }) => version !== undefined && version !== document.version);
  if (otherVersion !== undefined)
    throw new Refusal({
      code: "PG-VERSION",
      what: "not all members have the same major version of PostgreSQL",
      received: `${otherVersion.where}: ${otherVersion.version}; this host's member is to be ${document.version}`,
      why: "a standby can follow a primary of its own major version only",
      fix: "use the version of twofold that made the cluster; another major version is a new cluster (pg_upgrade of the primary, then reinit of the others), never a member",
    });
  const other = cluster.find(
    ({ systemIdentifier }) =>
      own?.systemIdentifier !== undefined &&
      systemIdentifier !== undefined &&
      systemIdentifier !== own.systemIdentifier,
  );
  if (other !== undefined)
    throw new Refusal({
      code: "PG-OTHER-SYSTEM",
      what: `what lies in ${directory} is another cluster than the one of the other members`,
      received: `system identifier ${own?.systemIdentifier} here, ${other.systemIdentifier} on ${other.host}`,
      why: "it may be a wallet; it can't follow the others, and is not thrown away for their sake",
      fix: `find out what it is; if it is not needed here: mv ${directory} ${directory}.before, and run this again: the member is copied from the primary`,
    });
  if (own === undefined && found.freeBytes < NEEDED_BYTES)
    throw new Refusal({
      code: "PG-DISK-TOO-SMALL",
      what: `there is too little space for a member's data at ${directory}`,
      received: `${(found.freeBytes / 2 ** 30).toFixed(1)} GiB free, ${NEEDED_BYTES / 2 ** 30} GiB are needed`,
      why: "the log that a standby still needs takes up to 2 GB, checkpoints 1 GB; on a full disk PostgreSQL stops, and lightningd with it",
      fix: `declare a larger volume for ${document.host}, or free space there`,
    });
}
