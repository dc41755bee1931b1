/** Takes a member out of the cluster whose host is dead for good. Done on one of the others. */
import { connect } from "node:net";
import { etcdPeerUrl } from "../../../templates/etcd.ts";
import { CLUSTER_PORTS, type EtcdDocument } from "../contract.ts";
import { isRunningPrimary, memberWords, type PatroniMember, readMembersFrom } from "../postgres/patroni.ts";
import { must, run } from "../process.ts";
import { Refusal } from "../stage.ts";
import { etcdctlWords, type KnownMember, listMembers } from "./members.ts";

export interface ForgetReport {
  forgotten: string;
  /** Who remains in etcd. */
  members: string[];
}

export interface ForgetFacts {
  /** Undefined without a majority. */
  known: KnownMember[] | undefined;
  /** Of PostgreSQL, as one of the living members has them; undefined if none of them answers. */
  members: PatroniMember[] | undefined;
  /** How the host answers, if it does. */
  answers: string | undefined;
}

const PORTS = Object.values(CLUSTER_PORTS);
const TIMEOUT_MS = 2000;

/** What Patroni keeps of a member in etcd (its config's namespace and scope). */
const patroniKey = (cluster: string, name: string) => `/twofold/${cluster}/members/${name}`;

export async function readForgetFacts(name: string, document: EtcdDocument): Promise<ForgetFacts> {
  const known = await listMembers(etcdctlWords());
  const address = addressOf(name, known ?? [], document);
  const others = document.members.filter(({ host }) => host !== name);
  const [members, answers] = await Promise.all([
    readMembersFrom(others.map((member) => member.address)),
    address === undefined ? undefined : findAnswer(address),
  ]);
  return { known, members, answers };
}

function addressOf(name: string, known: readonly KnownMember[], { members }: EtcdDocument): string | undefined {
  const declared = members.find(({ host }) => host === name)?.address;
  const url = known.find((member) => member.name === name)?.peerUrl;
  return declared ?? (url === undefined ? undefined : new URL(url).hostname.replace(/^\[|\]$/g, ""));
}

/** A connection that is refused was refused by a living machine. */
async function findAnswer(address: string): Promise<string | undefined> {
  const answers = await Promise.all(
    PORTS.map(
      (port) =>
        new Promise<string | undefined>((resolve) => {
          const socket = connect({ host: address, port, timeout: TIMEOUT_MS });
          const end = (answer: string | undefined) => {
            socket.destroy();
            resolve(answer);
          };
          socket.on("connect", () => end(`${address} takes connections at port ${port}`));
          socket.on("timeout", () => end(undefined));
          socket.on("error", (error: NodeJS.ErrnoException) =>
            end(
              error.code === "ECONNREFUSED" ? `${address} refuses connections at port ${port}, so it is on` : undefined,
            ),
          );
        }),
    ),
  );
  return answers.find((answer) => answer !== undefined);
}

/** The entry in etcd to be removed, if there is one. @throws {Refusal} for what must not be forgotten. Pure. */
export function decideForget(
  { known, members, answers }: ForgetFacts,
  name: string,
  document: EtcdDocument,
): KnownMember | undefined {
  if (known === undefined)
    throw new Refusal({
      code: "FORGET-NO-MAJORITY",
      what: "etcd has no majority here",
      received: document.members.map(({ host }) => host).join(", "),
      why: "a member is taken out by a majority of the others",
      fix: "bring a majority of them back first",
    });
  const declared = document.members.find(({ host }) => host === name);
  const entry = known.find(
    (member) =>
      member.name === name ||
      (member.name === "" && declared !== undefined && member.peerUrl === etcdPeerUrl(declared)),
  );
  const own = members?.find((member) => member.name === name);
  if (entry === undefined && own === undefined && declared === undefined && !document.others.includes(name))
    throw new Refusal({
      code: "FORGET-UNKNOWN",
      what: "neither the topology nor the cluster has such a host",
      received: name,
      why: "there is nothing to forget",
      fix: `name one of ${[...new Set([...known.map((member) => member.name), ...(members ?? []).map((member) => member.name)])].filter((one) => one !== "").join(", ")}`,
    });
  if (answers !== undefined)
    throw new Refusal({
      code: "FORGET-ANSWERS",
      what: `${name} is not dead`,
      received: answers,
      why: "a member that runs is taken out in order: others take over from it first, and it stops",
      fix: `take ${name} out of members and etcd, leave it under twofold:hosts, and run pulumi up; or switch the machine off`,
    });
  const primary = members?.find(isRunningPrimary);
  if (primary === undefined || primary.name === name)
    throw new Refusal({
      code: "FORGET-NO-PRIMARY",
      what: `there is no primary besides ${name}`,
      received: members === undefined ? "no Patroni answers" : memberWords(members),
      why: `${name} may have the newest commits, and be the only one that has them`,
      fix: "wait until Patroni has promoted a synchronous standby (half a minute); if it can't, bring the host or its disk back, or see ./twofold failover MEMBER",
    });
  return entry;
}

export async function forget(name: string, document: EtcdDocument, say: (line: string) => void): Promise<ForgetReport> {
  const entry = decideForget(await readForgetFacts(name, document), name, document);
  const words = etcdctlWords();
  if (entry !== undefined) {
    // etcd itself refuses what would leave it without a majority.
    await must("etcdctl", [...words, "member", "remove", entry.id]);
    say(`${name} is no member of etcd any more`);
  }
  const deleted = await run("etcdctl", [...words, "del", patroniKey(document.cluster, name)]);
  if (deleted.status === 0 && deleted.stdout.trim() === "1") say(`Patroni has forgotten ${name}`);
  const members = (await listMembers(words)) ?? [];
  return { forgotten: name, members: members.map((member) => member.name || member.peerUrl) };
}
