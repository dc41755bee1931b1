/** `./twofold witness rebuild`: the mark made anew from the copies, on the node's host and on every other that keeps one. */
import { EXIT } from "../host/contract.ts";
import type { RebuildReport } from "../host/recovery/tasks.ts";
import { callHost, unexpected } from "./ask.ts";
import { type LoadedStack, loadStack } from "./load.ts";
import type { StackChoice } from "./locate.ts";
import { reportText, runOnNode } from "./recover.ts";
import type { Host } from "./ssh.ts";

export async function rebuildWitness(
  options: StackChoice & { json?: true; reason: string; lowerTo?: string; replaceNode?: string[] },
): Promise<number> {
  const stack = loadStack(options);
  const accepted = [
    ...(options.lowerTo === undefined ? [] : ["--lower-to", options.lowerTo]),
    ...(options.replaceNode ?? []).flatMap((id) => ["--replace-node", id]),
  ];
  const rebuilt = await runOnNode(stack, ["witness-rebuild", "--reason", options.reason, ...accepted]);
  if (rebuilt.report === undefined) {
    return rebuilt.status;
  }
  const { mark, stopped } = rebuilt.report as unknown as RebuildReport;
  const failures = await Promise.all(keepers(stack).map(async (host) => replaceMark(host, mark, accepted)));
  process.stdout.write(options.json ? `${JSON.stringify({ mark })}\n` : reportText({ ...mark }));
  const failed = failures.filter((error) => error !== undefined);
  for (const error of failed) {
    process.stderr.write(`${error}\n`);
  }
  // Only now: with an old mark on another host the gate would refuse the node. A host that was not reached is the gate's to judge.
  const { status } = stopped ? await runOnNode(stack, ["resume"]) : { status: EXIT.ok };
  return failed.length > 0 ? EXIT.failed : status;
}

/** Hosts other than the node's that keep a mark of the node. */
function keepers(stack: LoadedStack): Host[] {
  const { node } = stack.topology;
  return stack.hosts.filter(
    (host) =>
      host.name !== node.host &&
      stack
        .documents(host)
        .some(
          (document) => document.stage === "witness" && document.writers.some((writer) => writer.node === node.name),
        ),
  );
}

/** @returns what went wrong, undefined if nothing did: one host that is down must not keep the others from their mark. */
async function replaceMark(host: Host, mark: RebuildReport["mark"], accepted: string[]): Promise<string | undefined> {
  const words = ["witness-replace", ...accepted];
  try {
    const result = await callHost(host, words, { input: JSON.stringify(mark) });
    return result.status === EXIT.ok ? undefined : unexpected(host, words, result).message;
  } catch (error) {
    return (error as Error).message;
  }
}
