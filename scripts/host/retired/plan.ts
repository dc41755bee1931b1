/** What is to be done so that this host is no member of the cluster any more. Pure. */
import type { RetiredDocument } from "../contract.ts";
import { ETCD } from "../etcd/facts.ts";
import { memberOf } from "../etcd/members.ts";
import { POSTGRES } from "../postgres/facts.ts";
import { isSynchronous, memberWords, type PatroniMember, takesPart } from "../postgres/patroni.ts";
import type { Unit } from "../read.ts";
import { type ItemName, Refusal } from "../stage.ts";
import type { RetiredFacts } from "./facts.ts";

export interface RetiredAction {
  kind: "retired/leave-postgres" | "retired/leave-etcd";
  item: ItemName;
  summary: string;
}

export function retiredItems({ parts }: RetiredDocument): ItemName[] {
  return parts.map((part): ItemName => `unit:${part === "postgres" ? POSTGRES.unit : ETCD.unit}`);
}

export function planRetired(facts: RetiredFacts, document: RetiredDocument): RetiredAction[] {
  const { parts } = document;
  // Patroni first: without etcd it would take its PostgreSQL for cut off.
  return [
    ...(parts.includes("postgres") ? planPostgres(facts.postgres, document) : []),
    ...(parts.includes("etcd") ? planEtcd(facts.etcd, document) : []),
  ];
}

const runs = (unit: Unit | undefined): boolean =>
  unit !== undefined && (unit.enabled === "enabled" || !["inactive", "failed"].includes(unit.active));

/** The members that remain keep the promise without this host: a primary, and as many standbys as a commit needs. */
export function promiseHolds(
  members: readonly PatroniMember[],
  { members: remaining, synchronousStandbys }: Pick<RetiredDocument, "members" | "synchronousStandbys">,
): boolean {
  const following = members.filter((member) => remaining.some(({ host }) => host === member.name) && takesPart(member));
  const standbys = following.filter(({ role }) => role !== "leader").length;
  return following.length > standbys && standbys >= synchronousStandbys;
}

const WHY = "a member leaves only while the others have a primary and a standby for every commit";

/** Refuses to take out a host that is the primary, also before anything else of the same `up` is done. Pure. */
export function primaryLeaves(
  host: string,
  members: readonly PatroniMember[],
  remaining: Pick<RetiredDocument, "members">,
): Refusal {
  const successor = members.find((member) => isSynchronous(member) && isRemaining(member, remaining));
  return new Refusal({
    code: "RETIRE-PRIMARY",
    what: `${host} is to leave the PostgreSQL cluster, and it is the primary`,
    received: memberWords(members),
    why: WHY,
    fix: `./twofold switchover ${successor?.name ?? "MEMBER"}, then run this again`,
  });
}

function planPostgres({ unit, ours, members }: RetiredFacts["postgres"], document: RetiredDocument): RetiredAction[] {
  const { host } = document;
  if (!ours || !runs(unit)) return [];
  if (unit?.active === "active") {
    if (members === undefined)
      throw new Refusal({
        code: "RETIRE-UNSEEN",
        what: `${host} is to leave the PostgreSQL cluster, and no Patroni says how the others are`,
        received: `no answer from ${[host, ...document.members.map((member) => member.host)].join(", ")}`,
        why: WHY,
        fix: "bring one back (journalctl -u patroni says what it waits for), then run this again",
      });
    const own = members.find(({ name }) => name === host);
    if (own?.role === "leader") throw primaryLeaves(host, members, document);
    if (!promiseHolds(members, document))
      throw new Refusal({
        code: "RETIRE-STANDBY",
        what: `${host} is to leave the PostgreSQL cluster, and the others do not keep the promise without it`,
        received: memberWords(members),
        why: WHY,
        fix: `wait until ${document.members.map((member) => member.host).join(", ")} are a primary and ${document.synchronousStandbys} streaming at least, then run this again`,
      });
  }
  return [
    {
      kind: "retired/leave-postgres",
      item: `unit:${POSTGRES.unit}`,
      summary: `stop ${host}'s member of PostgreSQL for good; its data stays where it is`,
    },
  ];
}

const isRemaining = ({ name }: PatroniMember, { members }: Pick<RetiredDocument, "members">) =>
  members.some(({ host }) => host === name);

function planEtcd({ unit, ours, known }: RetiredFacts["etcd"], document: RetiredDocument): RetiredAction[] {
  const { host, etcd } = document;
  const listed = known?.some(({ name }) => name === host) ?? false;
  if (!ours || (!runs(unit) && !listed)) return [];
  const why = "each member counts in every majority: one leaves only while all that are to remain vote";
  if (known === undefined)
    throw new Refusal({
      code: "RETIRE-NO-MAJORITY",
      what: `${host} is to leave etcd, and no majority of the others answers`,
      received: etcd.map((member) => member.host).join(", "),
      why,
      fix: "bring them back, then run this again",
    });
  const without = etcd.filter((member) => {
    const entry = memberOf(known, member);
    return entry === undefined || !entry.started || entry.learner;
  });
  if (without.length > 0)
    throw new Refusal({
      code: "RETIRE-VOTERS",
      what: `${host} is to leave etcd, and not all that are to remain have a vote`,
      received: `without a vote: ${without.map((member) => member.host).join(", ")}`,
      why,
      fix: "pulumi up lets them join; see that it reaches their hosts",
    });
  return [
    {
      kind: "retired/leave-etcd",
      item: `unit:${ETCD.unit}`,
      summary: `take ${host} out of etcd and stop its member`,
    },
  ];
}
