/** `./twofold check`: what differs from the config on every host. */
import type { CheckReport } from "../host/commands/check.ts";
import { EXIT } from "../host/contract.ts";
import type { Drift } from "../host/engine.ts";
import { type Answer, ask } from "./ask.ts";
import { type LoadedStack, loadStack } from "./load.ts";
import type { StackChoice } from "./locate.ts";

export async function check(options: StackChoice & { json?: true }): Promise<number> {
  const stack = loadStack(options);
  const answers = await checkHosts(stack);
  process.stdout.write(
    options.json ? `${JSON.stringify({ stack: stack.name, hosts: answers.map(toJson) })}\n` : checkText(answers),
  );
  return checkStatus(answers);
}

/** Asks all hosts at once. */
export function checkHosts(stack: LoadedStack): Promise<Answer<CheckReport>[]> {
  return Promise.all(stack.hosts.map((host) => ask<CheckReport>(host, ["check"], stack.documents(host))));
}

/** Items of a host that differ; a missing program is one too, since `repair` brings it back. Pure. */
export function driftOf(answer: Answer<CheckReport>): Pick<Drift, "item" | "summary" | "refused">[] {
  switch (answer.kind) {
    case "answer":
      return answer.value.drift;
    case "no-program":
      return [{ item: "program:host", summary: `${answer.error}; 'repair' installs this version` }];
    case "failed":
      return [];
  }
}

/** Pure. */
export function checkText(answers: Answer<CheckReport>[]): string {
  const lines = answers.flatMap((answer) => {
    if (answer.kind === "failed") {
      return [`${answer.host}: not checked`, ...answer.error.split("\n").map((line) => `  ${line}`)];
    }
    const drift = driftOf(answer);
    const running = answer.kind === "answer" ? answer.value.running : undefined;
    const count = answer.kind === "answer" ? ` of ${answer.value.items}` : "";
    return [
      drift.length === 0
        ? `${answer.host}: as declared${answer.kind === "answer" ? ` (${answer.value.items} items)` : ""}`
        : `${answer.host}: ${drift.length}${count} ${drift.length === 1 ? "item differs" : "items differ"}`,
      ...(running === undefined ? [] : [`  a run of ${running.title} is changing this host since ${running.since}`]),
      ...drift.map(({ item, summary }) => `  ${item}: ${summary.replaceAll("\n", "\n    ")}`),
    ];
  });
  return `${lines.join("\n")}\n`;
}

/** A host of which nothing is known weighs more than drift. Pure. */
export function checkStatus(answers: Answer<CheckReport>[]): number {
  if (answers.some(({ kind }) => kind === "failed")) {
    return EXIT.failed;
  }
  return answers.some((answer) => driftOf(answer).length > 0) ? EXIT.drift : EXIT.ok;
}

function toJson(answer: Answer<CheckReport>): object {
  return answer.kind === "failed"
    ? { host: answer.host, error: answer.error }
    : { ...(answer.kind === "answer" ? answer.value : {}), host: answer.host, drift: driftOf(answer) };
}
