/** What every verb starts from: the stack's topology and the documents of its hosts. */
import { resolve } from "node:path";
import { documentsOf } from "../../components/topology/documents.ts";
import { nearest } from "../../components/topology/nearest.ts";
import { parseTopology } from "../../components/topology/parse.ts";
import { formatProblems } from "../../components/topology/problem.ts";
import type { Topology } from "../../components/topology/schema.ts";
import { readStackConfig, StackConfigError } from "../../components/topology/stack-config.ts";
import type { StageDocument } from "../host/contract.ts";
import { Refusal } from "../host/stage.ts";
import { BadConfig } from "./bad-config.ts";
import { labsDirectory } from "./directories.ts";
import { locateStack, type StackChoice } from "./locate.ts";
import type { Host } from "./ssh.ts";

/** A stack as its config declares it. */
export interface LoadedStack {
  name: string;
  configFile: string;
  topology: Topology;
  /** Hosts by name, in the order of the documents. */
  hosts: Host[];
  /** @throws {Refusal} naming the hosts that there are. */
  host(name: string): Host;
  documents(host: Host): StageDocument[];
}

/** @throws {Refusal | BadConfig} if there is no such stack, or if its config can't be used. */
export function loadStack(choice: StackChoice): LoadedStack {
  const project = resolve(import.meta.dirname, "../..");
  const configFile = locateStack(choice, { project, labs: labsDirectory() });
  const { stack, config } = readConfig(configFile);
  const parsed = parseTopology(config, stack);
  if (!parsed.ok) {
    throw new BadConfig(`${configFile} can't be used:\n\n${formatProblems(parsed.problems)}`);
  }
  const { topology } = parsed;
  const documents = documentsOf(topology);
  const hosts = [...documents.keys()].flatMap((name) => {
    const spec = topology.hosts[name];
    return spec === undefined ? [] : [{ name, spec }];
  });
  return {
    name: stack,
    configFile,
    topology,
    hosts,
    host: (name) => hosts.find((host) => host.name === name) ?? unknownHost(name, hosts),
    documents: (host) => documents.get(host.name) ?? [],
  };
}

function readConfig(file: string): { stack: string; config: Record<string, unknown> } {
  try {
    return readStackConfig(file);
  } catch (error) {
    throw error instanceof StackConfigError ? new BadConfig(error.message) : error;
  }
}

function unknownHost(name: string, hosts: Host[]): never {
  const names = hosts.map((host) => host.name);
  const meant = nearest(name, names);
  throw new Refusal({
    code: "host/unknown",
    what: `the topology has no host ${name}`,
    received: name,
    why: "a verb works on hosts that the config declares",
    fix: `name one of ${names.join(", ")}${meant === undefined ? "" : `; perhaps ${meant} was meant`}`,
  });
}
