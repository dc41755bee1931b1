/** A host that leaves the cluster: out of its majorities first, then stopped. What it has of the wallet is left for an operator to destroy. */
import { setTimeout as delay } from "node:timers/promises";
import type { RetiredDocument } from "../contract.ts";
import { ETCD } from "../etcd/facts.ts";
import { listMembers } from "../etcd/members.ts";
import { putAside } from "../files.ts";
import { POSTGRES } from "../postgres/facts.ts";
import { readMembers } from "../postgres/patroni.ts";
import { must } from "../process.ts";
import { readEntries } from "../read.ts";
import type { ApplyContext, Stage } from "../stage.ts";
import { type RetiredFacts, readRetiredFacts, remainingMembers } from "./facts.ts";
import { planRetired, promiseHolds, type RetiredAction, retiredItems } from "./plan.ts";

/** Until the others have chosen another synchronous standby, if this one was it. */
const DEADLINE_MS = 60_000;
const POLL_MS = 250;

export const retired: Stage<RetiredDocument, RetiredFacts, RetiredAction> = {
  items: retiredItems,
  readFacts: readRetiredFacts,
  plan: planRetired,
  apply: (action, document, context) =>
    action.kind === "retired/leave-postgres" ? leavePostgres(document, context) : leaveEtcd(document, context),
};

async function leavePostgres(document: RetiredDocument, context: ApplyContext): Promise<void> {
  await must("systemctl", ["disable", "--quiet", "--now", POSTGRES.unit]);
  const deadline = Date.now() + DEADLINE_MS;
  while (!(await othersGoOn(document))) {
    if (Date.now() > deadline)
      throw new Error(
        `${document.host} has left, and after ${DEADLINE_MS / 1000} s the others have no primary with a synchronous standby\n` +
          "  to do: ./twofold status shows them; systemctl enable --now patroni on this host brings it back",
      );
    await delay(POLL_MS);
  }
  context.progress(`the others go on without ${document.host}`);
}

async function othersGoOn(document: RetiredDocument): Promise<boolean> {
  const views = await Promise.all(document.members.map(({ address }) => readMembers(address)));
  return views.some(
    (members) =>
      members !== undefined &&
      promiseHolds(members, document) &&
      members.filter(({ role, name }) => role === "sync_standby" && name !== document.host).length > 0,
  );
}

async function leaveEtcd(document: RetiredDocument, context: ApplyContext): Promise<void> {
  const { host } = document;
  const words = remainingMembers(document);
  const own = (await listMembers(words))?.find(({ name }) => name === host);
  // Before it is stopped: a member that is away counts in the majority all the same. etcd itself refuses what would cost that.
  if (own !== undefined) await must("etcdctl", [...words, "member", "remove", own.id]);
  await must("systemctl", ["disable", "--quiet", "--now", ETCD.unit]);
  const { etcd } = await readRetiredFacts(document);
  const data = etcd.dataDirectory;
  if (data !== undefined && (await readEntries([data])).get(data)?.kind === "directory")
    context.progress(`what etcd had here is of no use any more, and is now ${await putAside(data)}`);
}
