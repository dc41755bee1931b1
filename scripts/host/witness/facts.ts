/** What the witness stage reads of a host. */
import { lstat } from "node:fs/promises";
import { dirname } from "node:path";
import { WITNESS_UNITS, witnessUnitFiles } from "../../../templates/witness.ts";
import { readBroughtKey } from "../brought-key.ts";
import { LIGHTNINGD, NODE_STATE, STATE_DIRECTORY, type WitnessDocument } from "../contract.ts";
import { type Entry, readAccounts, readEntries, readText, readUnits, type Unit } from "../read.ts";
import { nodeDirectory } from "./store.ts";

/** The key with which the node's host asks the others; made here, its private half never leaves. */
export const WITNESS_KEY = "/etc/twofold/keys/witness";
/** Homes of the accounts with which other hosts' nodes come in: root's, so that an account can't change what it may run. */
export const PEER_HOMES = `${STATE_DIRECTORY}/peers`;

export const peerHome = (node: string) => `${PEER_HOMES}/${node}`;
/** Under which the brought key of a node's witness is kept. */
export const witnessKeyName = (node: string) => `witness-${node}`;
export const authorizedKeys = (node: string) => `${peerHome(node)}/.ssh/authorized_keys`;

export interface Account {
  uid: number;
  gid: number;
  home: string;
  shell: string;
}

/** Accounts of passwd(5) by name. */
export function parsePasswd(text: string): Map<string, Account> {
  return new Map(
    text
      .split("\n")
      .map((line) => line.split(":"))
      .filter((fields) => fields.length >= 7)
      .map(([name = "", , uid, gid, , home = "", shell = ""]) => [
        name,
        { uid: Number(uid), gid: Number(gid), home, shell },
      ]),
  );
}

export interface WitnessFacts {
  entries: Map<string, Entry | undefined>;
  timer: Unit | undefined;
  service: Unit | undefined;
  accounts: Map<string, Account>;
  /**
   * For each writer whose replica lies here: owner of the replica's directory, whose number the writer's account shares, since nobody
   * else can read the files (lightningd makes them 0600). Undefined if the directory is not there.
   */
  replicaOwners: Map<string, { uid: number; gid: number; owner: string; group: string } | undefined>;
  /** The public key that each writer may log in with, undefined before `witness-authorize`. */
  keys: Map<string, string | undefined>;
}

function witnessPaths(document: WitnessDocument): string[] {
  return [
    STATE_DIRECTORY,
    document.directory,
    ...(document.node
      ? [
          nodeDirectory(document.node.name, document.directory),
          NODE_STATE.directory,
          NODE_STATE.startLock,
          dirname(LIGHTNINGD.gateDocument),
          dirname(WITNESS_KEY),
          WITNESS_KEY,
          ...witnessUnitFiles(document.node).flatMap(({ path }) => [dirname(path), path]),
        ]
      : []),
    ...document.writers.flatMap(({ node }) => [
      nodeDirectory(node, document.directory),
      PEER_HOMES,
      peerHome(node),
      dirname(authorizedKeys(node)),
      authorizedKeys(node),
    ]),
  ];
}

export async function readWitnessFacts(document: WitnessDocument): Promise<WitnessFacts> {
  const [entries, units, passwd, names] = await Promise.all([
    readEntries(witnessPaths(document)),
    document.node ? readUnits([WITNESS_UNITS.service, WITNESS_UNITS.timer]) : new Map<string, Unit>(),
    readText("/etc/passwd"),
    readAccounts(),
  ]);
  const replicaOwners: WitnessFacts["replicaOwners"] = new Map();
  for (const { node, replica } of document.writers) {
    if (replica === undefined) continue;
    const found = await lstat(dirname(replica)).catch(() => undefined);
    replicaOwners.set(
      node,
      found && {
        uid: found.uid,
        gid: found.gid,
        owner: names.users.get(found.uid) ?? `${found.uid}`,
        group: names.groups.get(found.gid) ?? `${found.gid}`,
      },
    );
  }
  return {
    entries,
    timer: units.get(WITNESS_UNITS.timer),
    service: units.get(WITNESS_UNITS.service),
    accounts: parsePasswd(passwd ?? ""),
    replicaOwners,
    keys: new Map(
      await Promise.all(
        document.writers.map(async ({ node }) => [node, await readBroughtKey(witnessKeyName(node))] as const),
      ),
    ),
  };
}
