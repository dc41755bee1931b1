/**
 * A new store in place of one that is lost. The wallet is not in it, but who is primary is: one that begins empty, or with a snapshot of an hour
 * ago, would let a member win that has less than another one, and Patroni makes whoever has more follow it and throw that away.
 *
 * So everything is stopped, the member whose log goes farthest is found, and the store begins with its name as the only one that may be primary.
 * Until that is done a mark on each host keeps units and stages from starting anything, however often it is interrupted.
 */
import { etcdDataDirectory, etcdDefaultDirectory, renderEtcdDefault } from "../../../templates/etcd.ts";
import { dataDirectory, dynamicConfiguration } from "../../../templates/patroni.ts";
import { type EtcdDocument, type PostgresDocument, REBUILDING, STATE_DIRECTORY } from "../contract.ts";
import { ensureOwnDirectory, makeDirectory, putAside, removeFile, writeFileDurably } from "../files.ts";
import { readPostmaster } from "../member-checks.ts";
import { readDataPlace, requirePlace } from "../member-data.ts";
import { ROOT_FILE } from "../planning.ts";
import { POSTGRES } from "../postgres/facts.ts";
import { type LogEnd, readLogEnd } from "../postgres/log-end.ts";
import { awaitMember } from "../postgres/stage.ts";
import { must } from "../process.ts";
import { readText } from "../read.ts";
import type { ApplyContext } from "../stage.ts";
import { ETCD, isHealthy } from "./facts.ts";
import { etcdctlWords } from "./members.ts";
import { DATA_OWNERSHIP } from "./plan.ts";
import { awaitMajority } from "./stage.ts";

/** What a host has of the cluster. */
export interface Parts {
  etcd: EtcdDocument | undefined;
  postgres: PostgresDocument | undefined;
}

export interface RebuildLook {
  /** This host's member of etcd answers with a majority: nothing is lost. */
  majority: boolean;
  /** One was begun here and not finished. */
  rebuilding: boolean;
}

export async function look({ etcd }: Parts): Promise<RebuildLook> {
  return {
    majority: etcd !== undefined && (await isHealthy()),
    rebuilding: (await readText(REBUILDING)) !== undefined,
  };
}

export interface Stopped {
  /** Null where there is no data of PostgreSQL. */
  end: LogEnd | null;
}

/** Stops this host's members, which stay off at a reboot too, and says how far its log goes. */
export async function stopMembers({ etcd, postgres }: Parts, { progress }: ApplyContext): Promise<Stopped> {
  await ensureOwnDirectory(STATE_DIRECTORY);
  await writeFileDurably(REBUILDING, `${new Date().toISOString()}\n`, ROOT_FILE);
  const units = [...(postgres ? [POSTGRES.unit] : []), ...(etcd ? [ETCD.unit] : [])];
  await must("systemctl", ["disable", "--quiet", "--now", ...units]);
  if (postgres === undefined) return { end: null };
  // The end of a log that is written on is none.
  const postmaster = await readPostmaster(dataDirectory(postgres));
  if (postmaster !== undefined)
    throw new Error(
      `PostgreSQL still runs on ${postgres.host}, without Patroni: process ${postmaster}\n  to do: kill -INT ${postmaster} ends it (pg_ctl's "fast"), then run this again`,
    );
  progress(`${units.join(" and ")} are stopped`);
  return { end: (await readLogEnd(postgres)) ?? null };
}

/** Lets the store begin on this host, with all members that are declared. What is left of the lost one is put aside. */
export async function beginStore(document: EtcdDocument, context: ApplyContext): Promise<void> {
  const directory = etcdDataDirectory(document);
  const place = await readDataPlace(document.volume, directory, [etcdDefaultDirectory(document.cluster)]);
  requirePlace(ETCD.unit, document, directory, place);
  if (place.holds) context.progress(`what ${document.host} had of the lost store is now ${await putAside(directory)}`);
  await writeFileDurably(ETCD.settings, renderEtcdDefault(document, "new"), ROOT_FILE);
  await makeDirectory(directory, DATA_OWNERSHIP);
  await must("systemctl", ["enable", "--quiet", ETCD.unit]);
  await must("systemctl", ["start", "--no-block", ETCD.unit]);
  await awaitMajority(document, context);
}

/** What Patroni finds in the new store (its documentation, "Patroni's keys"). Pure. */
export function firstKeys(newest: string, systemIdentifier: string, document: PostgresDocument): [string, string][] {
  const key = (name: string) => `/twofold/${document.cluster}/${name}`;
  return [
    [key("initialize"), systemIdentifier],
    [key("config"), JSON.stringify(dynamicConfiguration(document))],
    // Who is not named here can't become the primary.
    [key("sync"), JSON.stringify({ leader: newest, quorum: 0, sync_standby: null })],
  ];
}

export async function writeFirstKeys(keys: [string, string][]): Promise<void> {
  for (const [key, value] of keys) await must("etcdctl", [...etcdctlWords(), "put", "--", key, value]);
}

/** Starts this host's member again and waits until it takes part; with that the host is done. */
export async function startMember({ postgres }: Parts, context: ApplyContext): Promise<void> {
  if (postgres !== undefined) {
    await must("systemctl", ["enable", "--quiet", "--now", POSTGRES.unit]);
    await awaitMember(postgres, context);
  }
  await removeFile(REBUILDING);
}
