import { parseArgs } from "node:util";
import { type Command, printJson, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import type { Degraded } from "../gate/observed.ts";
import { audit, readDegraded, readGateDocument, writeDegraded } from "../gate/state.ts";
import { requireReason, requireSubject } from "../recovery/arguments.ts";
import { parseDuration } from "../recovery/degraded.ts";
import { recoverUnderLock } from "../run-request.ts";
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
  const present = await readDegraded();
  // The other way round nothing is given up: without the replica the node goes on without silent witnesses too.
  if (present?.subject === "replica" && subject === "witness")
    throw new Refusal({
      code: "DEGRADE-REPLICA-FIRST",
      what: "the node is degraded without its replica, which covers a witness that does not answer",
      received: `degrade witness, while degraded without the replica until ${present.until}: ${present.reason}`,
      why: "one would take the other's place, and the replica would never be written anew and compared",
      fix: "for more time: ./twofold degrade replica --for … --reason …; if the replica is back: ./twofold degrade end first",
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
    if (subject === "end")
      return recoverUnderLock({ verb: "degrade-end", reason: values.reason?.trim() || "the end of degraded mode" });
    return begin(subject, values.for, requireReason(values.reason));
  },
};
