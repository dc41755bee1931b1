/** `./twofold init`: the first start of a new node. */
import type { InitReport } from "../host/commands/init.ts";
import { EXIT } from "../host/contract.ts";
import type { Survey } from "../host/init/survey.ts";
import { Refusal } from "../host/stage.ts";
import { type Answer, ask, callHost, lacksProgram, parseLastLine, whyNoProgram } from "./ask.ts";
import { Failure } from "./failure.ts";
import { loadStack } from "./load.ts";
import type { StackChoice } from "./locate.ts";

/** Every other host says what it has of the node; the node's own host decides, from these answers and its own. */
export async function init(options: StackChoice & { json?: true }): Promise<number> {
  const stack = loadStack(options);
  const { node } = stack.topology;
  const progress = (line: string) => process.stderr.write(`${line}\n`);
  const others = stack.hosts.filter(({ name }) => name !== node.host);
  if (others.length > 0) {
    progress(`asking ${others.map(({ name }) => name).join(", ")} whether ${node.name} exists there`);
  }
  const surveys = await Promise.all(
    others.map(async (host) => surveyOf(await ask<Survey>(host, ["init-survey", host.name, node.name], undefined))),
  );
  const host = stack.host(node.host);
  const result = await callHost(host, ["init"], {
    input: JSON.stringify(surveys),
    onLine: (line, stream) => {
      if (stream === "stderr") {
        progress(line);
      }
    },
  });
  if (lacksProgram(result)) {
    throw notProvisioned(host.name, whyNoProgram(result));
  }
  const report = parseLastLine<InitReport>(result.stdout);
  if (result.status !== EXIT.ok || report === undefined) {
    return result.status === EXIT.ok ? EXIT.failed : result.status;
  }
  process.stdout.write(
    options.json
      ? `${JSON.stringify(report)}\n`
      : `node ${report.node} is up\n  id ${report.nodeId}\n  since ${report.since}\n`,
  );
  return EXIT.ok;
}

/** @throws {Refusal | Failure} if the host gave no answer: then nobody knows whether the node exists there. */
function surveyOf(answer: Answer<Survey>): Survey {
  switch (answer.kind) {
    case "answer":
      return answer.value;
    case "no-program":
      throw notProvisioned(answer.host, answer.error);
    case "failed":
      throw new Failure({
        code: "init/no-answer",
        what: `host ${answer.host} did not say whether the node exists there`,
        received: answer.error,
        why: "a second node with a wallet that exists somewhere else would be another identity",
        fix: "bring that host up, then run init again",
      });
  }
}

function notProvisioned(host: string, received: string): Refusal {
  return new Refusal({
    code: "host/not-provisioned",
    what: `host ${host} has no host program of this version`,
    received,
    why: "the host is asked through it",
    fix: "run pulumi up",
  });
}
