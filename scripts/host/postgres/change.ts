/** What an operator changes in a living cluster, through Patroni's REST API on one of its members. */
import { setTimeout as delay } from "node:timers/promises";
import { lastApplied } from "../applied.ts";
import { parseDocumentText } from "../schema.ts";
import { Refusal } from "../stage.ts";
import { canHandOver, endPrimary } from "./hand-over.ts";
import {
  askPatroni,
  isPaused,
  isRunningPrimary,
  isSynchronous,
  memberWords,
  type PatroniMember,
  readDynamicConfiguration,
  readMembers,
  takesPart,
} from "./patroni.ts";

export type Say = (line: string) => void;

/** What a change prints at its end. */
export interface ChangeReport {
  primary: string | undefined;
  members: PatroniMember[];
}

/** Patroni itself answers a switchover only when it is done, and gives up after its own limits. */
const ANSWER_MS = 120_000;
/** Until everybody follows the new primary. */
const SETTLE_MS = 120_000;
/** A standby that is made anew copies the whole database. */
const REINIT_MS = 30 * 60_000;
const POLL_MS = 250;
const PROGRESS_MS = 5000;

const primaryOf = (members: PatroniMember[]) => members.find(({ role }) => role === "leader");

async function membersNow(): Promise<PatroniMember[]> {
  const members = await readMembers();
  if (members !== undefined) return members;
  throw new Refusal({
    code: "PG-NO-PATRONI",
    what: "this host's Patroni does not answer",
    received: "no answer at https://127.0.0.1:8008",
    why: "changes go through it, so that no two members are primary",
    fix: "systemctl start patroni on this host, or let another member's host do it",
  });
}

function requireMember(members: PatroniMember[], name: string | undefined, what: string): PatroniMember {
  const found = members.find((member) => member.name === name);
  if (found !== undefined) return found;
  throw new Refusal({
    code: "PG-MEMBER",
    what,
    received: name ?? "nothing",
    why: "nothing can be done to a member that is not there",
    fix: `name one of ${members.map((member) => member.name).join(", ")}`,
  });
}

/** Hands over to a standby that has everything. The present primary goes on until that one is ready. */
export async function switchover(candidate: string | undefined, say: Say): Promise<ChangeReport> {
  const members = await membersNow();
  const primary = primaryOf(members);
  const ready = members.filter((member) => isSynchronous(member) && takesPart(member));
  if (primary === undefined)
    throw new Refusal({
      code: "PG-NO-PRIMARY",
      what: "there is no primary to hand over from",
      received: memberWords(members),
      why: "a switchover loses nothing because the primary itself sends its last commits",
      fix: "wait for Patroni; if it can't decide, see ./twofold failover MEMBER",
    });
  const target = candidate ?? ready[0]?.name;
  if (target === primary.name) {
    say(`${target} is the primary already`);
    return { primary: target, members };
  }
  const chosen = requireMember(members, target, "there is no such standby to hand over to");
  if (!ready.includes(chosen))
    throw new Refusal({
      code: "PG-NOT-SYNCHRONOUS",
      what: `${chosen.name} is no synchronous standby`,
      received: `${chosen.role}, ${chosen.state}`,
      why: "only a synchronous standby surely has every acknowledged commit",
      fix: `hand over to ${ready.map(({ name }) => name).join(" or ") || "a standby once it is synchronous"}, and on from there`,
    });
  say(`handing over from ${primary.name} to ${chosen.name}`);
  const [text, configuration] = await Promise.all([lastApplied("postgres"), readDynamicConfiguration()]);
  const document = text === undefined ? undefined : parseDocumentText(text);
  const own = document?.stage === "postgres" ? document : undefined;
  const facts = { own: own?.host, primary: primary.name, target: chosen.name, ready: ready.map(({ name }) => name) };
  if (own !== undefined && canHandOver({ ...facts, paused: isPaused(configuration) })) {
    await endPrimary(own);
    // Its own Patroni, which is asked, is away for some seconds, and may tell of what was before until then.
    const now = await waitFor((list) => isWhole(list) && primaryOf(list)?.name !== primary.name, SETTLE_MS, say);
    return reportOf(now, say);
  }
  const answer = await askPatroni("POST", "/switchover", { leader: primary.name, candidate: chosen.name }, ANSWER_MS);
  if (answer?.status !== 200) throw new Error(`Patroni did not hand over: ${answer?.value ?? "no answer"}`);
  return settle(say);
}

/** Promotes a member where there is no healthy primary. */
export async function failover(candidate: string | undefined, say: Say): Promise<ChangeReport> {
  const members = await membersNow();
  const chosen = requireMember(members, candidate, "a failover names the member to be promoted");
  const primary = members.find(isRunningPrimary);
  if (primary !== undefined)
    throw new Refusal({
      code: "PG-HAS-PRIMARY",
      what: "the cluster has a primary that runs",
      received: memberWords(members),
      why: "a failover promotes a member whether or not it has every acknowledged commit; a switchover loses nothing",
      fix: `./twofold switchover ${chosen.name}`,
    });
  say(`promoting ${chosen.name} (${chosen.role}, ${chosen.state}); members: ${memberWords(members)}`);
  const answer = await askPatroni("POST", "/failover", { candidate: chosen.name }, ANSWER_MS);
  if (answer?.status !== 200) throw new Error(`Patroni did not promote it: ${answer?.value ?? "no answer"}`);
  // Those that are dead do not come back by this, so nobody is waited for but the new primary.
  const now = await waitFor(
    (list) => list.some((member) => member.name === chosen.name && isRunningPrimary(member)),
    SETTLE_MS,
    say,
  );
  const report = reportOf(now, say);
  if (!now.some(isSynchronous))
    say("no standby is synchronous: commits wait, and lightningd does not start, until another member is back");
  return report;
}

/** Makes this host's standby anew from the primary. Its present data is thrown away. */
export async function reinit(name: string | undefined, say: Say): Promise<ChangeReport> {
  const members = await membersNow();
  const chosen = requireMember(members, name, "a member to be made anew has to be named");
  const others = members.filter((member) => member !== chosen && isSynchronous(member) && takesPart(member));
  if (chosen.role === "leader" || primaryOf(members) === undefined)
    throw new Refusal({
      code: "PG-REINIT-PRIMARY",
      what: chosen.role === "leader" ? `${chosen.name} is the primary` : "there is no primary to copy from",
      received: memberWords(members),
      why: "its data is what the others are copies of",
      fix: "./twofold switchover first, then make the former primary anew",
    });
  if (others.length === 0)
    say(
      `${chosen.name} is the only synchronous standby: commits wait until another one, or ${chosen.name} again, has taken its place`,
    );
  say(`making ${chosen.name} anew from ${primaryOf(members)?.name}`);
  const answer = await askPatroni("POST", "/reinitialize", { force: true }, ANSWER_MS);
  if (answer?.status !== 200) throw new Error(`Patroni did not begin: ${answer?.value ?? "no answer"}`);
  // It takes part until its data directory is gone.
  await waitFor((now) => !now.some((member) => member.name === name && takesPart(member)), 15_000, say).catch(() => {});
  return settle(say, REINIT_MS);
}

/** A restart of the cluster: who, in which order. */
export interface RestartPlan {
  /** One after the other; the one that commits wait for comes last of them. */
  standbys: string[];
  /** Moved to a standby that was restarted before, which restarts its former server. */
  primary: string | undefined;
}

/** @param which "--all", a member's name, or nothing for those whose settings wait for a restart. Pure. */
export function planRestart(members: readonly PatroniMember[], which: string | undefined): RestartPlan {
  const chosen = members.filter(({ name, pending_restart }) =>
    which === undefined ? pending_restart === true : which === "--all" || which === name,
  );
  const standbys = chosen.filter(({ role }) => role !== "leader");
  return {
    standbys: [...standbys].sort((a, b) => Number(isSynchronous(a)) - Number(isSynchronous(b))).map(({ name }) => name),
    primary: chosen.find(({ role }) => role === "leader")?.name,
  };
}

const isWhole = (members: PatroniMember[]) =>
  primaryOf(members)?.state === "running" && members.every(takesPart) && members.some(isSynchronous);

/**
 * Restarts PostgreSQL on one member at a time, each when all others take part, and moves the primary before its own turn. What is left
 * waiting after that are settings that standbys must not have lower than the primary (max_connections and its like): the primary is then
 * restarted where it is, and the standbys after it.
 */
export async function restart(which: string | undefined, say: Say): Promise<ChangeReport> {
  let members = await membersNow();
  if (which !== undefined && which !== "--all") requireMember(members, which, "there is no such member to restart");
  if (!isWhole(members))
    throw new Refusal({
      code: "PG-NOT-WHOLE",
      what: "not every member takes part now",
      received: memberWords(members),
      why: "a restart takes one member away for a while; with another one away already, commits could wait for a standby, or a failover find none",
      fix: "bring the others back first; ./twofold status shows them",
    });
  for (let round = 1; round <= 2; round++) {
    const { standbys, primary } = planRestart(members, round === 1 ? which : undefined);
    if (standbys.length === 0 && primary === undefined) {
      if (round === 1) say("no member's settings wait for a restart; --all restarts every member all the same");
      break;
    }
    if (round === 2 && primary !== undefined) members = await restartMember(members, primary, say);
    for (const name of standbys) members = await restartMember(members, name, say);
    if (round === 1 && primary !== undefined) members = (await switchover(readyFor(members, standbys), say)).members;
    // A member's view of what waits for a restart is as old as its last look at itself.
    members = await waitFor(isWhole, SETTLE_MS, say);
  }
  const waiting = members.filter(({ pending_restart }) => pending_restart).map(({ name }) => name);
  if (which === undefined && waiting.length > 0)
    say(`still waiting for a restart: ${waiting.join(", ")}; journalctl -u patroni there says for which settings`);
  return { primary: primaryOf(members)?.name, members };
}

/** A synchronous standby, one that was restarted if there is one. */
function readyFor(members: PatroniMember[], restarted: string[]): string | undefined {
  const ready = members.filter((member) => isSynchronous(member) && takesPart(member));
  return (ready.find(({ name }) => restarted.includes(name)) ?? ready[0])?.name;
}

async function restartMember(members: PatroniMember[], name: string, say: Say): Promise<PatroniMember[]> {
  const address = members.find((member) => member.name === name)?.host;
  say(`restarting PostgreSQL on ${name}`);
  const answer = await askPatroni("POST", "/restart", {}, ANSWER_MS, address);
  if (answer?.status !== 200)
    throw new Error(
      `${name} was not restarted: ${answer?.value ?? "its Patroni does not answer"}\n  to do: ./twofold status shows the members; the others were left as they are`,
    );
  return waitFor(isWhole, SETTLE_MS, say);
}

/** Waits until there is a primary, and a synchronous standby, and every member that runs follows. */
async function settle(say: Say, limit = SETTLE_MS): Promise<ChangeReport> {
  const members = await waitFor(isWhole, limit, say);
  return reportOf(members, say);
}

function reportOf(members: PatroniMember[], say: Say): ChangeReport {
  const primary = primaryOf(members)?.name;
  say(`${primary} is the primary; ${memberWords(members)}`);
  return { primary, members };
}

async function waitFor(done: (members: PatroniMember[]) => boolean, limit: number, say: Say): Promise<PatroniMember[]> {
  const deadline = Date.now() + limit;
  let saidAt = Date.now();
  for (;;) {
    const members = (await readMembers()) ?? [];
    if (done(members)) return members;
    if (Date.now() > deadline)
      throw new Error(
        `not done after ${limit / 1000} s: ${memberWords(members) || "Patroni does not answer"}\n  to do: ./twofold status shows the members; journalctl -u patroni on each says what it waits for`,
      );
    if (Date.now() - saidAt > PROGRESS_MS) {
      saidAt = Date.now();
      say(`waiting: ${memberWords(members)}`);
    }
    await delay(POLL_MS);
  }
}
