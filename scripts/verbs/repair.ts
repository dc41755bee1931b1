/** `./twofold repair`: shows what differs, asks, and puts back exactly that. */
import { EXIT, type StageDocument } from "../host/contract.ts";
import { Refusal } from "../host/stage.ts";
import { callHost, lastLines } from "./ask.ts";
import { checkHosts, checkStatus, checkText, driftOf } from "./check.ts";
import { confirmed } from "./confirm.ts";
import { installProgram } from "./install-program.ts";
import { loadStack } from "./load.ts";
import type { StackChoice } from "./locate.ts";
import type { Host } from "./ssh.ts";

interface Outcome {
  host: string;
  changed: string[];
  error?: string;
}

export async function repair(options: StackChoice & { yes?: true; json?: true }): Promise<number> {
  const stack = loadStack(options);
  const answers = await checkHosts(stack);
  const differing = answers.filter((answer) => driftOf(answer).length > 0);
  process.stderr.write(checkText(answers));
  const unreachable = answers.filter(({ kind }) => kind === "failed").length;
  if (differing.length === 0) {
    print(options, stack.name, []);
    return checkStatus(answers);
  }
  if (!options.yes && !(await confirmed(`Put this back on ${differing.map(({ host }) => host).join(", ")}?`))) {
    process.stderr.write("nothing was changed\n");
    return EXIT.drift;
  }
  const outcomes = await Promise.all(
    differing.map(async (answer) => {
      const host = stack.host(answer.host);
      return repairHost(host, stack.documents(host), answer.kind === "no-program");
    }),
  );
  print(options, stack.name, outcomes);
  return unreachable > 0 || outcomes.some(({ error }) => error !== undefined) ? EXIT.failed : EXIT.ok;
}

async function repairHost(host: Host, documents: StageDocument[], programIsMissing: boolean): Promise<Outcome> {
  const progress = (line: string) => process.stderr.write(`${host.name}: ${line}\n`);
  const changed: string[] = [];
  try {
    if (programIsMissing) {
      await installProgram(host, progress);
      changed.push("program:host");
    }
    const result = await callHost(host, ["repair"], {
      input: JSON.stringify(documents),
      onLine: (line) => {
        const report = parseReport(line);
        if (report === undefined) {
          progress(line);
        } else {
          changed.push(...report.changed);
        }
      },
    });
    return result.status === EXIT.ok
      ? { host: host.name, changed }
      : { host: host.name, changed, error: lastLines(result.stderr || result.stdout) };
  } catch (error) {
    if (error instanceof Refusal) {
      progress(error.message);
      return { host: host.name, changed, error: error.message };
    }
    throw error;
  }
}

/** One line of JSON for each document that was put back; everything else is progress. Pure. */
export function parseReport(line: string): { changed: string[] } | undefined {
  if (!line.startsWith("{")) {
    return undefined;
  }
  try {
    const { changed } = JSON.parse(line) as { changed?: string[] };
    return Array.isArray(changed) ? { changed } : undefined;
  } catch {
    return undefined;
  }
}

function print(options: { json?: true }, stack: string, outcomes: Outcome[]): void {
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ stack, hosts: outcomes })}\n`);
    return;
  }
  for (const { host, changed, error } of outcomes) {
    process.stdout.write(
      `${host}: ${changed.length === 0 ? "nothing was put back" : `put back ${changed.join(", ")}`}\n`,
    );
    if (error !== undefined) {
      process.stderr.write(`${host}: not repaired, for the reason above\n`);
    }
  }
  if (outcomes.length === 0) {
    process.stdout.write("nothing to put back\n");
  }
}
