import type { AlertsDocument, StageDocument, StageName } from "../../../scripts/host/contract.ts";
import type { Topology } from "../schema.ts";

/** Stages of which there is something to look at later. */
const WATCHED: readonly StageName[] = ["storage", "replica", "etcd", "postgres", "lightningd"];

/** Minutes of a time such as "30m" or "1h"; the schema lets nothing else through. */
function minutesOf(text: string): number {
  return Number.parseInt(text, 10) * ({ m: 1, h: 60, d: 1440 }[text.at(-1) ?? ""] ?? 1);
}

/** @param others The host's other documents: their stages are what is watched. */
export function alertsDocument(
  { node, alerts }: Topology,
  host: string,
  others: readonly StageDocument[],
): AlertsDocument {
  const { command, repeat, replicationLagBytes, freePercent } = alerts;
  return {
    stage: "alerts",
    host,
    node: node.name,
    stages: WATCHED.filter((stage) => others.some((document) => document.stage === stage)),
    ...(command === undefined ? {} : { command }),
    repeatMinutes: minutesOf(repeat),
    lagBytes: replicationLagBytes,
    freePercent,
  };
}
