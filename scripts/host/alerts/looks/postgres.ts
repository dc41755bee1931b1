/** This host's member of the PostgreSQL cluster; the primary's host sees the standbys too. */
import { loadTemplate } from "../../../../templates/load.ts";
import { type PostgresDocument, tlsFiles } from "../../contract.ts";
import { POSTGRES } from "../../postgres/facts.ts";
import { isRunningPrimary, type PatroniMember, readMembers, readPaused, takesPart } from "../../postgres/patroni.ts";
import { psql } from "../../postgres/psql.ts";
import { CommandFailed, run } from "../../process.ts";
import { readOtherCertificate } from "../../tls/shown.ts";
import type { Condition } from "../alert.ts";
import type { Happening } from "../history.ts";

/** What the primary knows of its standbys and their slots; positions are differences in bytes. */
export interface PrimaryFacts {
  standbys: { name: string; sync: boolean; lagBytes: number | null }[];
  slots: { name: string; active: boolean; retainedBytes: number | null; walStatus: string | null }[];
  /** max_slot_wal_keep_size in bytes; -1 is no limit. */
  slotLimitBytes: number;
}

export interface PostgresSeen {
  /** Undefined while this host's Patroni does not answer. */
  members: PatroniMember[] | undefined;
  /** Ports of this host's member that show another certificate than the one on the disk. */
  otherCertificate: number[];
  /** Somebody has told Patroni to leave PostgreSQL alone. */
  paused: boolean;
  /** On the primary's host, if the primary answers. */
  primary: PrimaryFacts | undefined;
  /** Waits for a standby that were cancelled within the last day. */
  cancelled: Happening[];
}

/** How long a cancelled wait is an alert: it has no end of its own. */
const TOLD_MS = 24 * 3_600_000;

export function judgePostgres(document: PostgresDocument, seen: PostgresSeen, lagLimitBytes: number): Condition[] {
  return [
    ...judgeMembers(document, seen.members),
    ...judgePause(document, seen),
    ...judgeCertificate(document, seen),
    ...(seen.primary === undefined ? [] : judgePrimary(document, seen.primary, lagLimitBytes)),
    ...judgeCancelled(document, seen.cancelled),
  ];
}

function judgeMembers(
  { host, cluster, members: declared }: PostgresDocument,
  members: PatroniMember[] | undefined,
): Condition[] {
  const down = (name: string, value: string): Condition => ({
    code: "PG_MEMBER_DOWN",
    subject: `PostgreSQL on ${name}`,
    value,
  });
  if (members === undefined) return [down(host, `Patroni does not answer; systemctl status ${POSTGRES.unit}`)];
  const own = members.find(({ name }) => name === host);
  const leader = members.find(isRunningPrimary);
  const conditions: Condition[] = [];
  if (leader === undefined)
    conditions.push({
      code: "PG_NO_PRIMARY",
      subject: `cluster ${cluster}`,
      value: members.map(({ name, role, state }) => `${name} is ${role}, ${state}`).join("; ") || "no member is known",
    });
  // Each host tells of its own member; of one whose host is gone the primary's tells.
  const told = own?.role === "leader" ? declared.map(({ host: name }) => name) : [host];
  for (const name of told) {
    const member = members.find((each) => each.name === name);
    if (member === undefined) conditions.push(down(name, "its cluster does not know it"));
    else if (!takesPart(member)) conditions.push(down(name, `it is ${member.role}, ${member.state}`));
  }
  return conditions;
}

/** Told by the primary's host; by each where there is none, since nobody will be promoted. */
function judgePause({ host, cluster }: PostgresDocument, { members, paused }: PostgresSeen): Condition[] {
  const leader = members?.find(isRunningPrimary);
  if (!paused || (leader !== undefined && leader.name !== host)) return [];
  return [{ code: "PG_PAUSED", subject: `cluster ${cluster}`, value: "Patroni is paused (patronictl pause)" }];
}

function judgeCertificate({ host }: PostgresDocument, { otherCertificate }: PostgresSeen): Condition[] {
  if (otherCertificate.length === 0) return [];
  const value = `port ${otherCertificate.join(" and ")} shows another one than ${tlsFiles("postgres").certificate}`;
  return [{ code: "CERTIFICATE_NOT_SHOWN", subject: `the certificate of PostgreSQL on ${host}`, value }];
}

function judgePrimary(
  { cluster, synchronousStandbys }: PostgresDocument,
  { standbys, slots, slotLimitBytes }: PrimaryFacts,
  lagLimitBytes: number,
): Condition[] {
  const synchronous = standbys.filter(({ sync }) => sync).map(({ name }) => name);
  return [
    ...(synchronous.length < synchronousStandbys
      ? [
          {
            code: "PG_NO_STANDBY" as const,
            subject: `cluster ${cluster}`,
            value: `${synchronous.length} of ${synchronousStandbys} synchronous standbys: ${standbys.map(({ name }) => `${name} streams and is not synchronous`).join(", ") || "no standby streams"}`,
          },
        ]
      : []),
    ...standbys
      .filter(({ lagBytes }) => (lagBytes ?? 0) > lagLimitBytes)
      .map(({ name, lagBytes }) => ({
        code: "PG_LAG" as const,
        subject: `standby ${name}`,
        value: `${lagBytes} bytes behind the primary, more than ${lagLimitBytes}`,
      })),
    ...slots.flatMap((slot) => judgeSlot(slot, slotLimitBytes)),
  ];
}

/** Half of what a slot may keep, or a slot that has lost what it kept (pg_replication_slots). */
function judgeSlot(
  { name, active, retainedBytes, walStatus }: PrimaryFacts["slots"][number],
  limitBytes: number,
): Condition[] {
  const lost = walStatus === "lost" || walStatus === "unreserved";
  const much = limitBytes > 0 && (retainedBytes ?? 0) > limitBytes / 2;
  if (!lost && !much) return [];
  const value = `${active ? "in use" : "not in use"}, ${walStatus ?? "no log"}, keeps ${retainedBytes ?? 0} bytes of log, of at most ${limitBytes}`;
  return [{ code: "PG_SLOT_RETAINS", subject: `slot ${name}`, value }];
}

function judgeCancelled({ host }: PostgresDocument, cancelled: Happening[]): Condition[] {
  const last = cancelled.at(-1);
  if (last === undefined) return [];
  const times = cancelled.length === 1 ? "once" : `${cancelled.length} times`;
  return [
    {
      code: "PG_CANCELLED_WAIT",
      subject: `PostgreSQL on ${host}`,
      value: `${times} within a day, last at ${last.at}: ${last.message}`,
    },
  ];
}

/** Lines of `journalctl --output=json`, one object each. Pure. */
export function parseCancelled(text: string): Happening[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as { __REALTIME_TIMESTAMP: string; MESSAGE: unknown })
    .filter((entry): entry is { __REALTIME_TIMESTAMP: string; MESSAGE: string } => typeof entry.MESSAGE === "string")
    .map(({ __REALTIME_TIMESTAMP: microseconds, MESSAGE: message }) => ({
      at: new Date(Number(microseconds) / 1000).toISOString(),
      message,
    }));
}

/** What was known and what is new, of the last day, each once. Pure. */
export function mergeCancelled(known: Happening[], found: Happening[], now: Date): Happening[] {
  const all = new Map([...known, ...found].map((wait) => [`${wait.at} ${wait.message}`, wait]));
  return [...all.values()]
    .filter(({ at }) => now.getTime() - Date.parse(at) < TOLD_MS)
    .sort((a, b) => (a.at < b.at ? -1 : 1));
}

/**
 * The wait was cancelled and its writer was told of a commit. A server that shuts down ends waits as well, and its log says of them too that
 * they might not have been replicated; but it ends the writers' sessions with them, so none was told of a commit (syncrep.c, SyncRepWaitForLSN).
 */
const CANCELLED_WAIT = "canceling wait for synchronous replication due to user request";

/** From its log, which goes to the unit that started it. Patroni says a line a second, so just the time since the last look is searched. */
export async function findCancelled(since: Date): Promise<Happening[]> {
  const seconds = Math.floor(since.getTime() / 1000);
  const words = ["--unit", POSTGRES.unit, `--since=@${seconds}`, `--grep=${CANCELLED_WAIT}`];
  const ran = await run("journalctl", [...words, "--output=json", "--output-fields=MESSAGE", "--no-pager", "--quiet"]);
  // Status 1 without a word says that nothing was found.
  if (ran.status !== 0 && ran.stderr.trim() !== "") throw new CommandFailed("journalctl", words, ran);
  return parseCancelled(ran.stdout);
}

async function readPrimary(): Promise<PrimaryFacts | undefined> {
  const text = (await psql(loadTemplate("postgres-alerts.sql"))).trim();
  return text === "" ? undefined : (JSON.parse(text) as PrimaryFacts);
}

/** @param cancelled of the last day */
export async function lookAtPostgres(
  document: PostgresDocument,
  lagLimitBytes: number,
  cancelled: Happening[],
): Promise<Condition[]> {
  const [members, paused = false, otherCertificate] = await Promise.all([
    readMembers(),
    readPaused(),
    readOtherCertificate(),
  ]);
  const own = members?.find(({ name }) => name === document.host);
  const primary = own !== undefined && isRunningPrimary(own) ? await readPrimary() : undefined;
  return judgePostgres(document, { members, paused, otherCertificate, primary, cancelled }, lagLimitBytes);
}
