/** One member of etcd, the consensus store on which Patroni's members agree. */
import { setTimeout as delay } from "node:timers/promises";
import { etcdDataDirectory, etcdPeerUrl, renderEtcdDefault } from "../../../templates/etcd.ts";
import type { ClusterMember, EtcdDocument } from "../contract.ts";
import { makeDirectory, putAside, writeFileDurably } from "../files.ts";
import { ROOT_FILE } from "../planning.ts";
import { CommandFailed, must, run } from "../process.ts";
import { readText, readUnits } from "../read.ts";
import type { ApplyContext, Stage } from "../stage.ts";
import { ETCD, type EtcdFacts, isHealthy, readBegun, readEtcdFacts } from "./facts.ts";
import { askPeers, clusterToJoin, listMembers, memberOf, otherMembers } from "./members.ts";
import { oneAtATime } from "./one-at-a-time.ts";
import { DATA_OWNERSHIP, type EtcdAction, etcdItems, planEtcd, requireFirst, STATE_EXISTING } from "./plan.ts";

/** A first start waits for a majority of the members, whose packages may still be installing. */
const DEADLINE_MS = 300_000;
const POLL_MS = 250;
const PROGRESS_MS = 5000;

export const etcd: Stage<EtcdDocument, EtcdFacts, EtcdAction> = {
  items: etcdItems,
  readFacts: readEtcdFacts,
  plan: planEtcd,
  async apply(action, document, context) {
    if (action.kind === "etcd/set-aside") return setAside(document, context);
    if (action.kind === "etcd/make-data") return makeData(document, context);
    if (action.kind === "etcd/restart") return oneAtATime(document, context, () => restart(document, context));
    // --no-block: the unit counts as started only when it has a majority, and this says meanwhile what it waits for.
    await must("systemctl", ["start", "--no-block", ETCD.unit]);
    await awaitMajority(document, context);
  },
};

/**
 * Lets a member begin, as late as it can be decided how. A store begins only where none has: to one that goes on, a member is added first.
 * It comes as a learner, which has no vote until it has caught up, so that it takes nothing from the majority before it can give to it.
 *
 * A member whose data is gone has forgotten what it voted for: under its old number it could vote twice. So the others forget it first.
 */
async function makeData(document: EtcdDocument, context: ApplyContext): Promise<void> {
  const { host, members } = document;
  const own = members.find((member) => member.host === host);
  if (own === undefined) throw new Error(`${host} is no member of etcd in its own document`);
  const others = otherMembers(members, host);
  let known = await listMembers(others);
  if (known === undefined) {
    // They may have lost it since the plan was made.
    requireFirst(await readBegun(document), document);
    await requireBeginning(own, members);
  } else {
    let entry = memberOf(known, own);
    if (entry?.started) {
      context.progress(`the others know ${host} as a member that has run: it joins them as a new one`);
      await must("etcdctl", [...others, "member", "remove", entry.id]);
      entry = undefined;
    }
    if (entry === undefined) {
      context.progress(`${host} joins ${known.length} members, as a learner first`);
      await addLearner(own, others, context);
    }
    known = await listMembers(others);
    if (known === undefined) throw new Error(`etcd lost its majority while ${host} was being added; run this again`);
    await writeFileDurably(
      ETCD.settings,
      renderEtcdDefault(document, "existing", clusterToJoin(known, document)),
      ROOT_FILE,
    );
  }
  await makeDirectory(etcdDataDirectory(document), DATA_OWNERSHIP);
}

/** @throws if the others have begun without this host and can't take it in now */
async function requireBeginning(own: ClusterMember, members: ClusterMember[]): Promise<void> {
  const peers = await askPeers(members.filter((member) => member !== own));
  if (peers === undefined || peers.includes(etcdPeerUrl(own))) return;
  throw new Error(
    `etcd has begun without ${own.host}, and has no majority that could take it in\n` +
      `  received: members at ${peers.join(", ")}\n` +
      "  why: a member that began by itself would be of another store\n" +
      "  to do: bring a majority of them back, then run this again",
  );
}

/** etcd takes one learner at a time: another one that is joining is waited for. */
async function addLearner(own: ClusterMember, others: string[], context: ApplyContext): Promise<void> {
  const words = [...others, "member", "add", own.host, "--learner", `--peer-urls=${etcdPeerUrl(own)}`];
  const deadline = Date.now() + DEADLINE_MS;
  let saidAt = 0;
  for (;;) {
    const ran = await run("etcdctl", words);
    if (ran.status === 0) return;
    const transient = /too many learner members|unhealthy cluster|not enough started members/.test(ran.stderr);
    if (!transient || Date.now() > deadline) throw new CommandFailed("etcdctl", words, ran);
    if (Date.now() - saidAt > PROGRESS_MS) {
      saidAt = Date.now();
      context.progress(`waiting for the others to take ${own.host} in: ${ran.stderr.trim().split("\n").at(-1)}`);
    }
    await delay(POLL_MS);
  }
}

/** Gives a learner its vote, which the others refuse until it has caught up. */
async function promote({ host, members }: EtcdDocument): Promise<void> {
  const own = members.find((member) => member.host === host);
  const others = otherMembers(members, host);
  const entry = own && memberOf((await listMembers(others)) ?? [], own);
  if (entry?.learner && entry.started) await run("etcdctl", [...others, "member", "promote", entry.id]);
}

/** A removed member's data is of no use, and in the way of its next life. It holds nothing of the wallet. */
async function setAside(document: EtcdDocument, context: ApplyContext): Promise<void> {
  await must("systemctl", ["stop", ETCD.unit]);
  const path = await putAside(etcdDataDirectory(document));
  context.progress(`what ${document.host} had as a member that was removed is now ${path}`);
}

async function restart(document: EtcdDocument, context: ApplyContext): Promise<void> {
  const startOf = async () => (await readUnits([ETCD.unit])).get(ETCD.unit)?.startedAt;
  const before = await startOf();
  await must("systemctl", ["restart", "--no-block", ETCD.unit]);
  await awaitMajority(document, context, async () => (await startOf()) !== before);
}

/**
 * Waits until this member answers together with a majority.
 * @param isNew whether who would answer is the process that is waited for
 */
export async function awaitMajority(
  document: EtcdDocument,
  context: ApplyContext,
  isNew: () => Promise<boolean> = async () => true,
): Promise<void> {
  const { members } = document;
  const joins = STATE_EXISTING.test((await readText(ETCD.settings)) ?? "");
  const deadline = Date.now() + DEADLINE_MS;
  let saidAt = Date.now();
  while (!((await isNew()) && (await isHealthy()))) {
    if (joins) await promote(document);
    if (Date.now() > deadline) {
      const { stdout } = await run("journalctl", [
        "--unit",
        ETCD.unit,
        "--lines",
        "8",
        "--output",
        "cat",
        "--no-pager",
      ]);
      throw new Error(
        `etcd has no majority after ${DEADLINE_MS / 1000} s; its last lines:\n  ${stdout.trim().replaceAll("\n", "\n  ")}\n` +
          `  to do: see that a majority of ${members.map(({ host }) => host).join(", ")} runs and that they reach each other at their peer addresses; then run this again`,
      );
    }
    if (Date.now() - saidAt > PROGRESS_MS) {
      saidAt = Date.now();
      context.progress(`waiting for a majority of ${members.map(({ host }) => host).join(", ")}`);
    }
    await delay(POLL_MS);
  }
  context.progress("etcd answers, with a majority");
}
