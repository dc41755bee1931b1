/** `./twofold switchover`, `failover`, `reinit`, `restart`: changes of the PostgreSQL cluster, made through Patroni on one of its members. */
import type { HostStatus } from "../host/commands/status.ts";
import { EXIT } from "../host/contract.ts";
import { highestMark } from "../host/gate/decide.ts";
import type { ChangeReport } from "../host/postgres/change.ts";
import type { MemberCopy } from "../host/postgres/copy.ts";
import { isSynchronous, type PatroniMember } from "../host/postgres/patroni.ts";
import type { SyncState } from "../host/postgres/sync-state.ts";
import { Refusal } from "../host/stage.ts";
import { ask, callHost, lacksProgram, lastLines, parseLastLine } from "./ask.ts";
import { confirmed } from "./confirm.ts";
import { Failure } from "./failure.ts";
import { type LoadedStack, loadStack } from "./load.ts";
import type { StackChoice } from "./locate.ts";
import type { Host } from "./ssh.ts";

type Options = StackChoice & { json?: true };
type Asking = Options & { yes?: true };

export async function switchover(member: string | undefined, options: Options): Promise<number> {
  const stack = loadStack(options);
  requireMember(stack, member);
  const words = member === undefined ? ["switchover"] : ["switchover", member];
  return change(await answeringHost(stack), words, options);
}

export async function failover(member: string, options: Asking): Promise<number> {
  const stack = loadStack(options);
  requireMember(stack, member);
  const [seen, named, marked] = await Promise.all([askMembers(stack), askEtcd(stack), askWitness(stack)]);
  const synchronous = seen.map((one) => one.synchronous).find((one) => one !== undefined) ?? named;
  process.stderr.write(failoverText(member, seen, marked, synchronous));
  if (!options.yes && !(await confirmed(`Promote ${member}?`))) return declined();
  return change(stack.host(member), ["failover", member], options);
}

export async function reinit(member: string, options: Asking): Promise<number> {
  const stack = loadStack(options);
  requireMember(stack, member);
  process.stderr.write(`${member}'s copy of the wallet is thrown away and made anew from the primary.\n`);
  if (!options.yes && !(await confirmed(`Make ${member} anew?`))) return declined();
  return change(stack.host(member), ["reinit", member], options);
}

export async function restart(member: string | undefined, options: Options & { all?: true }): Promise<number> {
  const stack = loadStack(options);
  requireMember(stack, member);
  const which = options.all ? "--all" : member;
  return change(await answeringHost(stack), which === undefined ? ["restart"] : ["restart", which], options);
}

function declined(): number {
  process.stderr.write("nothing was changed\n");
  return EXIT.refused;
}

export function membersOf({ topology }: LoadedStack): string[] {
  const { wallet } = topology.node;
  if (wallet.kind === "postgres") return wallet.members;
  throw new Refusal({
    code: "WALLET-KIND",
    what: "this verb works on a PostgreSQL cluster",
    received: `a wallet of kind ${wallet.kind}`,
    why: "an SQLite wallet has no primary that could move",
    fix: "./twofold --help shows the verbs; 'restore replica' and 'resync replica' are those of an SQLite wallet's copies",
  });
}

function requireMember(stack: LoadedStack, member: string | undefined): void {
  const members = membersOf(stack);
  if (member === undefined || members.includes(member)) return;
  throw new Refusal({
    code: "PG-MEMBER",
    what: "the topology has no such member of the cluster",
    received: member,
    why: "nothing can be done to a member that is not there",
    fix: `name one of ${members.join(", ")}`,
  });
}

interface Seen {
  host: string;
  /** Why it can't be told, where it can't. */
  error?: string;
  members: PatroniMember[];
  copy?: MemberCopy | undefined;
  /** As its member of etcd has it. */
  synchronous?: SyncState | undefined;
}

async function askMembers(stack: LoadedStack): Promise<Seen[]> {
  return Promise.all(
    membersOf(stack).map(async (name) => {
      const host = stack.host(name);
      const answer = await ask<HostStatus>(host, ["status"], stack.documents(host));
      if (answer.kind !== "answer") return { host: name, error: answer.error.split("\n")[0] ?? "", members: [] };
      const members = answer.value.cluster?.members;
      const { copy, synchronous } = answer.value.cluster ?? {};
      return members === undefined
        ? { host: name, error: "its Patroni does not answer", members: [], copy, synchronous }
        : { host: name, members, copy, synchronous };
    }),
  );
}

/** What etcd has on hosts that are no members of PostgreSQL. */
async function askEtcd(stack: LoadedStack): Promise<SyncState | undefined> {
  const { wallet } = stack.topology.node;
  const others = wallet.kind === "postgres" ? wallet.etcd.filter((name) => !wallet.members.includes(name)) : [];
  const answers = await Promise.all(
    others.map((name) => ask<HostStatus>(stack.host(name), ["status"], stack.documents(stack.host(name)))),
  );
  return answers
    .map((answer) => (answer.kind === "answer" ? answer.value.cluster?.synchronous : undefined))
    .find((one) => one !== undefined);
}

/** The highest data_version that a witness has seen; undefined if none can be asked. */
async function askWitness(stack: LoadedStack): Promise<number | undefined> {
  const host = stack.host(stack.topology.node.host);
  const answer = await ask<HostStatus>(host, ["status"], stack.documents(host));
  const witnesses = answer.kind === "answer" ? (answer.value.gate?.seen.witnesses ?? []) : [];
  return highestMark(witnesses)?.mark.dataVersion;
}

/** A member whose Patroni answers: the primary, which hands over the fastest, or else the first. */
async function answeringHost(stack: LoadedStack): Promise<Host> {
  const seen = await askMembers(stack);
  const found = answering(seen);
  if (found !== undefined) return stack.host(found);
  throw new Failure({
    code: "PG-NO-PATRONI",
    what: "no member's Patroni answers",
    received: seen.map(({ host, error }) => `${host}: ${error}`).join("; "),
    why: "changes go through it, so that no two members are primary",
    fix: "bring a majority of etcd and a member's patroni.service back",
  });
}

/** Pure. */
export function answering(seen: readonly Seen[]): string | undefined {
  const able = seen.filter(({ error }) => error === undefined);
  const leads = ({ host, members }: Seen) => members.some(({ name, role }) => name === host && role === "leader");
  return (able.find(leads) ?? able[0])?.host;
}

/** What an operator has to know before promoting a member. Pure. */
export function failoverText(
  member: string,
  seen: Seen[],
  marked: number | undefined,
  named: SyncState | undefined,
): string {
  const silent = seen.filter(({ error }) => error !== undefined);
  const members = seen.find(({ error }) => error === undefined)?.members ?? [];
  const chosen = members.find(({ name }) => name === member);
  const wasPrimary = named?.leader === member;
  const synchronous = named?.standbys.includes(member) || (chosen !== undefined && isSynchronous(chosen));
  return [
    ...members.map(({ name, role, state, timeline }) => {
      const copy = seen.find(({ host }) => host === name)?.copy;
      const has =
        copy === undefined
          ? "wallet NOT SEEN"
          : `data_version ${copy.dataVersion ?? "none"}, log up to ${copy.position}`;
      return `  ${name}: ${role}, ${state}, timeline ${timeline ?? "unknown"}, ${has}`;
    }),
    ...silent.map(({ host, error }) => `  ${host}: NOT SEEN (${error})`),
    `  witness: ${marked === undefined ? "NOT SEEN" : `data_version ${marked} or more`}`,
    wasPrimary
      ? `${member} was the primary when this was last known: it has every acknowledged commit.`
      : synchronous
        ? `${member} was synchronous when this was last known: it has every acknowledged commit.`
        : `${member} IS NOT SYNCHRONOUS: commits that were acknowledged may be missing on it. For a Lightning node that is an old state: a peer may take all the money of its channels. Bring a synchronous member back instead if there is any way to.`,
    ...behindWitness(member, seen, marked),
    ...(silent.length > 0
      ? [`What ${silent.map(({ host }) => host).join(" and ")} has and ${member} has not is lost for good.`]
      : []),
    "",
  ].join("\n");
}

function behindWitness(member: string, seen: Seen[], marked: number | undefined): string[] {
  const version = seen.find(({ host }) => host === member)?.copy?.dataVersion ?? undefined;
  if (marked === undefined || version === undefined) return [];
  if (version >= marked)
    return [`Its wallet is not older than what the witness has seen; the witness may be some commits late.`];
  return [
    `ITS WALLET IS OLDER: at least ${marked - version} acknowledged commits would be lost (data_version ${version}, the witness has seen ${marked}). The gate will refuse to start lightningd on it.`,
  ];
}

async function change(host: Host, words: string[], options: Options): Promise<number> {
  const result = await callHost(host, ["postgres", ...words], {
    onLine: (line, stream) => stream === "stderr" && process.stderr.write(`${line}\n`),
  });
  if (lacksProgram(result))
    throw new Refusal({
      code: "host/not-provisioned",
      what: `host ${host.name} has no host program of this version`,
      received: lastLines(result.stderr),
      why: "the change is made by it",
      fix: "run ./twofold repair, which installs it",
    });
  if (result.status !== EXIT.ok) return result.status;
  const report = parseLastLine<ChangeReport>(result.stdout);
  process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : `primary: ${report?.primary}\n`);
  return EXIT.ok;
}
