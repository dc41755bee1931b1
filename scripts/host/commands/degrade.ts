import { parseArgs } from "node:util";
import { type Command, printJson, requireRoot } from "../command.ts";
import { EXIT, NODE_STATE } from "../contract.ts";
import type { Degraded } from "../gate/observed.ts";
import { audit, forget, readDegraded, readGateDocument, readSqliteGateDocument, writeDegraded } from "../gate/state.ts";
import { requireReason, requireSubject } from "../recovery/arguments.ts";
import { parseDuration } from "../recovery/degraded.ts";
import { WorkFailed } from "../recovery/locked.ts";
import { resync } from "../recovery/resync.ts";
import { Refusal } from "../stage.ts";

const say = (line: string) => console.error(line);

async function begin(subject: "replica" | "witness", duration: string | undefined, reason: string): Promise<number> {
  const { node, wallet, witnesses } = await readGateDocument();
  const hasReplica = wallet.kind === "sqlite" && wallet.replica !== undefined;
  if (subject === "replica" ? !hasReplica : !witnesses.some((place) => place.kind === "peer"))
    throw new Refusal({
      code: "DEGRADE-NOTHING",
      what: `the topology declares no ${subject} that could be missing`,
      received: "none",
      why: "there is nothing to go on without",
      fix: "./twofold gate says what is in the way",
    });
  const now = Date.now();
  const degraded: Degraded = {
    subject,
    reason,
    since: new Date(now).toISOString(),
    until: new Date(now + parseDuration(duration ?? "")).toISOString(),
  };
  await audit("degraded mode begun", { node, ...degraded });
  await writeDegraded(degraded);
  say(
    `the node may go on without ${subject} until ${degraded.until}; a waiting gate sees it at once, a stopped node is started with ./twofold repair`,
  );
  printJson(degraded);
  return EXIT.ok;
}

/** The replica is written anew and compared before the mode is over; a node that only lacked a witness has nothing to copy. */
async function end(reason: string): Promise<number> {
  const { node } = await readGateDocument();
  const degraded = await readDegraded();
  if (degraded === undefined) {
    say("the node is not degraded; nothing to do");
    return EXIT.ok;
  }
  const finish = async () => {
    await forget(NODE_STATE.degraded);
    await audit("degraded mode ended", { node, ...degraded, endedFor: reason });
  };
  try {
    if (degraded.subject === "replica") printJson(await resync(await readSqliteGateDocument(), reason, say, finish));
    else await finish();
    return EXIT.ok;
  } catch (error) {
    if (error instanceof WorkFailed) return error.status;
    throw error;
  }
}

export const degrade: Command = {
  usage: "degrade replica|witness|end [--for 24h] --reason TEXT",
  summary:
    "let the node go on for a while without its replica or a witness; 'end' copies main to the replica and compares",
  async run(args) {
    requireRoot();
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { for: { type: "string" }, reason: { type: "string" } },
      allowPositionals: true,
    });
    const subject = requireSubject(degrade, positionals, ["replica", "witness", "end"]);
    if (subject === "end") return end(values.reason?.trim() || "the end of degraded mode");
    return begin(subject, values.for, requireReason(values.reason));
  },
};
