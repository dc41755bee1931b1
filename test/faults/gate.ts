/** What the start gate decided on a node's host, and whether the node answers. */
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Topology } from "../../components/topology/schema.ts";
import { WITNESS_DIRECTORY } from "../../scripts/host/contract.ts";
import { GATE_RECORD } from "../../scripts/host/gate/start.ts";
import { eventually } from "../helpers/lab.ts";
import { LightningdClient } from "../helpers/lightningd-client.ts";
import { runProgram } from "../helpers/run-program.ts";
import type { Machine } from "./machine.ts";
import { socketOf } from "./recorder.ts";

export interface Verdict {
  at: string;
  verdict: "start" | "wait" | "refuse";
  code: string;
}

/** The first decision after `since` (milliseconds of the wall clock). */
export async function gateSays(node: Machine, since: number, seconds: number): Promise<Verdict> {
  const file = await node.path(GATE_RECORD);
  return eventually(`the gate of ${node.name} says something`, seconds, async () => {
    const record = JSON.parse(readFileSync(file, "utf8")) as Verdict;
    return Date.parse(record.at) >= since && record;
  });
}

/** The same, as soon as it is not to wait. */
export async function gateDecides(node: Machine, since: number, seconds: number): Promise<Verdict> {
  return eventually(`the gate of ${node.name} decides`, seconds, async () => {
    const record = await gateSays(node, since, seconds);
    return record.verdict !== "wait" && record;
  });
}

/** Labels of all invoices of a node, as soon as it answers. */
export async function nodeAnswers(node: Machine, topology: Topology, seconds: number): Promise<string[]> {
  const socket = await socketOf(node, topology);
  return eventually(`lightningd of ${node.name} answers`, seconds, async () => {
    const client = await LightningdClient.connect(socket);
    try {
      return (await client.listinvoices()).map(({ label }) => label);
    } finally {
      client.close();
    }
  });
}

/** The highest mark that any of the hosts keeps, on or off: it lies on their root disks. */
export async function highestMark(hosts: Machine[], topology: Topology): Promise<number | undefined> {
  const directory = await mkdtemp(join(tmpdir(), "twofold-marks-"));
  try {
    const marks: number[] = [];
    for (const { container, name } of hosts) {
      const file = join(directory, name);
      const from = `${container}:${WITNESS_DIRECTORY}/${topology.node.name}/mark.json`;
      const ran = await runProgram("docker", ["cp", from, file]);
      if (ran.status === 0) marks.push((JSON.parse(readFileSync(file, "utf8")) as { dataVersion: number }).dataVersion);
      else if (!/no such container:path|could not find the file/i.test(ran.stderr))
        throw new Error(`the mark on ${name}: ${ran.stderr}`);
    }
    return marks.length === 0 ? undefined : Math.max(...marks);
  } finally {
    await rm(directory, { recursive: true });
  }
}
