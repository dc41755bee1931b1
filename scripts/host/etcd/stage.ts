/** One member of etcd, the consensus store on which Patroni's members agree. */
import { setTimeout as delay } from "node:timers/promises";
import type { EtcdDocument } from "../contract.ts";
import { must, run } from "../process.ts";
import type { ApplyContext, Stage } from "../stage.ts";
import { ETCD, type EtcdFacts, isHealthy, readEtcdFacts } from "./facts.ts";
import { type EtcdAction, etcdItems, planEtcd } from "./plan.ts";

/** A first start waits for a majority of the members, whose packages may still be installing. */
const DEADLINE_MS = 300_000;
const POLL_MS = 250;
const PROGRESS_MS = 5000;

export const etcd: Stage<EtcdDocument, EtcdFacts, EtcdAction> = {
  items: etcdItems,
  readFacts: readEtcdFacts,
  plan: planEtcd,
  async apply(action, document, context) {
    // --no-block: the unit counts as started only when it has a majority, and this says meanwhile what it waits for.
    await must("systemctl", [action.kind === "etcd/restart" ? "restart" : "start", "--no-block", ETCD.unit]);
    await awaitMajority(document, context);
  },
};

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
