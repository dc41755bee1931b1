/**
 * Hosts are changed all at once, and a change that restarts etcd on all of them would take the majority for a moment, and the primary with it.
 * So a member that restarts holds a lock in the store itself, and waits for the others that were before it.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { etcdClientUrl } from "../../../templates/etcd.ts";
import type { ClusterMember, EtcdDocument } from "../contract.ts";
import { run } from "../process.ts";
import type { ApplyContext } from "../stage.ts";
import { etcdctlWords, type KnownMember, listMembers, memberOf, otherMembers } from "./members.ts";

const LOCK = "twofold/etcd-restart";
/** A holder that died keeps the others waiting for this long. */
const TTL_SECONDS = 60;
/** Of each wait: a restart takes seconds, and each of the others may need one. */
const DEADLINE_MS = 300_000;
const POLL_MS = 500;
const PROGRESS_MS = 5000;

/** Those of the others that are members by now: who is only to join takes nothing from the majority. Pure. */
export function othersOf({ host, members }: EtcdDocument, known: readonly KnownMember[]): ClusterMember[] {
  return members.filter((member) => member.host !== host && memberOf(known, member)?.started === true);
}

/** Runs `work` while no other member restarts and all of them answer; at once where there is no majority to be kept. */
export async function oneAtATime(
  document: EtcdDocument,
  context: ApplyContext,
  work: () => Promise<void>,
): Promise<void> {
  const words = otherMembers(document.members, document.host);
  const known = await listMembers(words);
  if (known === undefined) return work();
  const release = await takeLock(words, context);
  try {
    await awaitOthers(othersOf(document, known), context);
    await work();
  } finally {
    await release();
  }
}

/** Held by etcdctl until it is ended, on the others' endpoints: this host's own goes away meanwhile. */
async function takeLock(words: string[], context: ApplyContext): Promise<() => Promise<void>> {
  const child = spawn("etcdctl", [...words, "lock", `--ttl=${TTL_SECONDS}`, LOCK], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    said += chunk;
  });
  const ended = once(child, "close").catch(() => {});
  const waiting = setInterval(() => context.progress("waiting for another member of etcd to restart"), PROGRESS_MS);
  // It prints the lock's key as soon as it has it.
  const taken = await Promise.race([
    once(child.stdout, "data").then(() => true),
    ended.then(() => false),
    delay(DEADLINE_MS, false, { ref: false }),
  ]);
  clearInterval(waiting);
  const release = async () => {
    child.kill("SIGTERM");
    await ended;
  };
  if (taken) return release;
  await release();
  throw new Error(
    `etcd was not restarted with its new settings: another member has been restarting for ${DEADLINE_MS / 1000} s, or the lock can't be had: ${said.trim() || LOCK}\n` +
      "  to do: ./twofold status shows the members; run this again when they are all there",
  );
}

async function awaitOthers(others: readonly ClusterMember[], context: ApplyContext): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  let saidAt = Date.now();
  for (;;) {
    const answers = await Promise.all(
      others.map((member) => run("etcdctl", [...etcdctlWords([etcdClientUrl(member)]), "endpoint", "health"])),
    );
    const missing = others.filter((_, index) => answers[index]?.status !== 0).map(({ host }) => host);
    if (missing.length === 0) return;
    if (Date.now() > deadline)
      throw new Error(
        `etcd was not restarted with its new settings: ${missing.join(", ")} did not answer for ${DEADLINE_MS / 1000} s\n` +
          "  why: with this one away as well the others may have no majority, and the primary steps down\n" +
          `  to do: bring ${missing.join(" and ")} back, or ./twofold forget one that is dead for good; then run this again`,
      );
    if (Date.now() - saidAt > PROGRESS_MS) {
      saidAt = Date.now();
      context.progress(`waiting for ${missing.join(", ")} before etcd is restarted here`);
    }
    await delay(POLL_MS);
  }
}
