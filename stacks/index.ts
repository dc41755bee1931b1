/** The stack program: config → topology → components. Everything that can be refused is refused before any resource. */
import * as pulumi from "@pulumi/pulumi";
import type { MadeMachine } from "../components/node-host.ts";
import { documentsOf } from "../components/topology/documents.ts";
import { formatProblems, type Problem } from "../components/topology/problem.ts";
import { checkChange, identityOf } from "../components/topology/rules/change.ts";
import { checkSurvival, nextDigest, survivalTable } from "../components/topology/survival.ts";
import { bundleHostProgram } from "../scripts/host/build.ts";
import { Refusal } from "../scripts/host/stage.ts";
import { renderBootstrap } from "../templates/bootstrap.ts";
import { topologyFromConfig } from "./config.ts";
import { DIGEST_OUTPUT, encodeTable, IDENTITY_OUTPUT, lastOutputs, SURVIVAL_OUTPUT } from "./last-outputs.ts";
import { checkPlugins } from "./plugins.ts";
import { provision } from "./provision.ts";
import { checkUpload } from "./uploads.ts";

export default async function twofold(): Promise<Record<string, unknown>> {
  try {
    return await declare();
  } catch (error) {
    // Without its stack: it is meant for the operator.
    throw error instanceof Refusal ? new pulumi.RunError(error.message) : error;
  }
}

async function declare(): Promise<Record<string, unknown>> {
  const parsed = topologyFromConfig();
  if (!parsed.ok) {
    throw refusal("the config of this stack can't be used", parsed.problems);
  }
  const { topology } = parsed;
  const lab = new pulumi.Config("twofold").getObject<unknown>("lab");
  checkPlugins({ lab: lab !== undefined, allowStandins: topology.allowStandins });
  checkUpload(topology);
  const survival = survivalTable(topology);
  const last = await lastOutputs();
  const problems = [
    ...(last.identity === undefined ? [] : checkChange(last.identity, topology)),
    ...checkSurvival(last.survival, survival, topology.accept),
  ];
  if (problems.length > 0) {
    throw refusal("this change is refused, and nothing was touched", problems);
  }

  const program = await bundleHostProgram();
  const commands = provision({
    topology,
    documents: documentsOf(topology),
    program,
    bootstrapScript: renderBootstrap(),
    machines: lab === undefined ? new Map() : await labMachines(lab),
  });
  return {
    node: topology.node.name,
    hosts: Object.fromEntries(
      Object.entries(topology.hosts).map(([name, { user, address, port }]) => [name, `${user}@${address}:${port}`]),
    ),
    // Known at preview, so that it shows what was and what will be, and unchanged if a command fails.
    ...onceApplied(commands, {
      [IDENTITY_OUTPUT]: identityOf(topology),
      [SURVIVAL_OUTPUT]: encodeTable(survival.cells),
      [DIGEST_OUTPUT]: nextDigest(last.survival, survival),
    }),
  };
}

function refusal(what: string, problems: Problem[]): pulumi.RunError {
  return new pulumi.RunError(`${what}:\n\n${formatProblems(problems)}`);
}

/** @pulumi/docker is imported by labs only: it costs every other stack start-up time. */
async function labMachines(lab: unknown): Promise<Map<string, MadeMachine>> {
  const { createLabHosts } = await import("./lab.ts");
  return createLabHosts(lab);
}

/** Outputs that are recorded only when every command has succeeded: a resource that failed has no URN. */
function onceApplied(commands: pulumi.Resource[], outputs: Record<string, unknown>): Record<string, unknown> {
  const applied = pulumi.all(commands.map(({ urn }) => urn));
  return Object.fromEntries(Object.entries(outputs).map(([name, value]) => [name, applied.apply(() => value)]));
}
