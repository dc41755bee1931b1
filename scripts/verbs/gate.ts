/** `./twofold gate`: what the start gate would decide now, without starting anything. */
import type { GateReport } from "../host/commands/gate.ts";
import { EXIT } from "../host/contract.ts";
import { describeDecision, describeObserved } from "../host/gate/report.ts";
import { ask } from "./ask.ts";
import { Failure } from "./failure.ts";
import { loadStack } from "./load.ts";
import type { StackChoice } from "./locate.ts";

/** Exit statuses by verdict; the gate's own are for systemd. */
const STATUS = { start: EXIT.ok, wait: EXIT.failed, refuse: EXIT.refused } as const;

export async function gate(options: StackChoice & { json?: true }): Promise<number> {
  const stack = loadStack(options);
  const host = stack.host(stack.topology.node.host);
  const answer = await ask<GateReport>(host, ["gate"], undefined, {
    onLine: (line, stream) => stream === "stderr" && process.stderr.write(`${line}\n`),
  });
  if (answer.kind !== "answer") {
    throw new Failure({
      code: "gate/no-answer",
      what: `the gate on host ${host.name} gave no answer`,
      received: answer.error,
      why: "what it would decide is not known",
      fix: answer.kind === "no-program" ? "run pulumi up" : "see above, and run this again",
    });
  }
  const { running, decision, seen } = answer.value;
  const now = running ? "the node is running; a restart at this moment would meet:\n" : "";
  process.stdout.write(
    options.json
      ? `${JSON.stringify(answer.value)}\n`
      : `${now}${[...describeDecision(decision), ...describeObserved(seen)].join("\n")}\n`,
  );
  return STATUS[decision.verdict];
}
