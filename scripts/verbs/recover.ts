/** Repairs of the wallet's copies: the node's host does them, and asks its peers itself. */
import { EXIT } from "../host/contract.ts";
import { Refusal } from "../host/stage.ts";
import { callHost, lacksProgram, parseLastLine, whyNoProgram } from "./ask.ts";
import { type LoadedStack, loadStack } from "./load.ts";
import type { StackChoice } from "./locate.ts";

/** Runs a command on the node's host: its progress goes to stderr, its report to stdout. */
export async function recover(words: string[], options: StackChoice & { json?: true }): Promise<number> {
  const { status, report } = await runOnNode(loadStack(options), words);
  if (report !== undefined) {
    process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : reportText(report));
  }
  return status;
}

/** @throws {Refusal | Failure} if the node's host can't be reached or has no program of this version. */
export async function runOnNode(
  stack: LoadedStack,
  words: string[],
): Promise<{ status: number; report: Record<string, unknown> | undefined }> {
  const host = stack.host(stack.topology.node.host);
  const result = await callHost(host, words, {
    onLine: (line, stream) => stream === "stderr" && process.stderr.write(`${line}\n`),
  });
  if (lacksProgram(result)) {
    throw new Refusal({
      code: "host/not-provisioned",
      what: `host ${host.name} has no host program of this version`,
      received: whyNoProgram(result),
      why: "the repair is done by it",
      fix: "run ./twofold repair, which installs it",
    });
  }
  return {
    status: result.status,
    report: result.status === EXIT.ok ? parseLastLine<Record<string, unknown>>(result.stdout) : undefined,
  };
}

/** One line a value. Pure. */
export function reportText(report: Record<string, unknown>): string {
  return Object.entries(report)
    .map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}\n`)
    .join("");
}
