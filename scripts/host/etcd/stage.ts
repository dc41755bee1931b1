/** One member of etcd, the consensus store on which Patroni's members agree. */
import { setTimeout as delay } from "node:timers/promises";
import { etcdClientUrl, etcdDataDirectory, etcdPeerUrl, renderEtcdDefault } from "../../../templates/etcd.ts";
import type { EtcdDocument } from "../contract.ts";
import { makeDirectory, writeFileDurably } from "../files.ts";
import { ROOT_FILE } from "../planning.ts";
import { must, run } from "../process.ts";
import type { ApplyContext, Stage } from "../stage.ts";
import { ETCD, type EtcdFacts, etcdctlWords, isHealthy, readEtcdFacts } from "./facts.ts";
import { DATA_OWNERSHIP, type EtcdAction, etcdItems, planEtcd } from "./plan.ts";

/** A first start waits for a majority of the members, whose packages may still be installing. */
const DEADLINE_MS = 300_000;
const POLL_MS = 250;
const PROGRESS_MS = 5000;

export const etcd: Stage<EtcdDocument, EtcdFacts, EtcdAction> = {
  items: etcdItems,
  readFacts: readEtcdFacts,
  plan: planEtcd,
  async apply(action, document, context) {
    if (action.kind === "etcd/make-data") return makeData(document, context);
    // --no-block: the unit counts as started only when it has a majority, and this says meanwhile what it waits for.
    await must("systemctl", [action.kind === "etcd/restart" ? "restart" : "start", "--no-block", ETCD.unit]);
    await awaitMajority(document, context);
  },
};

/** The member as the others have it. */
interface KnownMember {
  /** 64 bits: more than a JSON number of JavaScript holds, so it is read as text. */
  id: string;
  started: boolean;
}

/**
 * A member whose data is gone has forgotten what it voted for: under its old number it could vote twice. So where the others know it as
 * one that has run, they forget it first, and it joins them as a new one.
 */
async function makeData(document: EtcdDocument, context: ApplyContext): Promise<void> {
  const { host, members } = document;
  const known = await findMember(document);
  if (known?.started) {
    const own = members.find((member) => member.host === host);
    if (own === undefined) throw new Error(`${host} is no member of etcd in its own document`);
    const others = etcdctlWords(members.filter((member) => member !== own).map(etcdClientUrl));
    context.progress(`the others know ${host} as a member that has run: it joins them as a new one`);
    await must("etcdctl", [...others, "member", "remove", known.id]);
    await must("etcdctl", [...others, "member", "add", host, `--peer-urls=${etcdPeerUrl(own)}`]);
    await writeFileDurably(ETCD.settings, renderEtcdDefault(document, "existing"), ROOT_FILE);
  }
  await makeDirectory(etcdDataDirectory(document), DATA_OWNERSHIP);
}

/** Undefined where nobody answers, as before the first start, or where the others don't know it. */
async function findMember({ host, members }: EtcdDocument): Promise<KnownMember | undefined> {
  const others = members.filter((member) => member.host !== host).map(etcdClientUrl);
  const ran = await run("etcdctl", [...etcdctlWords(others), "member", "list", "--write-out=simple"]);
  return ran.status === 0 ? parseMember(ran.stdout, host) : undefined;
}

/** A line of `etcdctl member list`: ID, status, name, peer URLs, client URLs, learner. One that has not run yet has no name. */
export function parseMember(list: string, host: string): KnownMember | undefined {
  for (const line of list.split("\n")) {
    const [id, status, name] = line.split(", ");
    if (id !== undefined && name === host) return { id, started: status === "started" };
  }
  return undefined;
}

async function awaitMajority({ members }: EtcdDocument, context: ApplyContext): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  let saidAt = Date.now();
  while (!(await isHealthy())) {
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
