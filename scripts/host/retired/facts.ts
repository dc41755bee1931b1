/** What the retired stage reads of a host. */
import { etcdClientUrl } from "../../../templates/etcd.ts";
import type { RetiredDocument } from "../contract.ts";
import { dataDirectoryOf, ETCD, tokenOf } from "../etcd/facts.ts";
import { etcdctlWords, type KnownMember, listMembers } from "../etcd/members.ts";
import { POSTGRES, scopeOf } from "../postgres/facts.ts";
import { type PatroniMember, readMembersFrom } from "../postgres/patroni.ts";
import { readText, readUnits, type Unit } from "../read.ts";

export interface RetiredFacts {
  postgres: {
    unit: Unit | undefined;
    /** Its settings are those of the document's cluster. */
    ours: boolean;
    /** As this host's Patroni or one of the others' has them; undefined while none answers. */
    members: PatroniMember[] | undefined;
  };
  etcd: {
    unit: Unit | undefined;
    ours: boolean;
    /** Of the majority that is to remain; undefined if there is none to ask. */
    known: KnownMember[] | undefined;
    dataDirectory: string | undefined;
  };
}

/** The member that leaves may be the one that hangs, so the others are asked too. */
const readAnyMembers = ({ members }: RetiredDocument): Promise<PatroniMember[] | undefined> =>
  readMembersFrom([undefined, ...members.map(({ address }) => address)]);

/** With which etcdctl reaches the members that are to remain. */
export const remainingMembers = ({ etcd }: RetiredDocument): string[] => etcdctlWords(etcd.map(etcdClientUrl));

export async function readRetiredFacts(document: RetiredDocument): Promise<RetiredFacts> {
  const [units, config, settings] = await Promise.all([
    readUnits([POSTGRES.unit, ETCD.unit]),
    readText(POSTGRES.config),
    readText(ETCD.settings),
  ]);
  const wasMember = { postgres: scopeOf(config) === document.cluster, etcd: tokenOf(settings) === document.cluster };
  const unit = units.get(POSTGRES.unit);
  const [members, known] = await Promise.all([
    wasMember.postgres && unit?.active === "active" ? readAnyMembers(document) : undefined,
    wasMember.etcd ? listMembers(remainingMembers(document)) : undefined,
  ]);
  return {
    postgres: { unit, ours: wasMember.postgres, members },
    etcd: {
      unit: units.get(ETCD.unit),
      ours: wasMember.etcd,
      known,
      dataDirectory: dataDirectoryOf(settings),
    },
  };
}
