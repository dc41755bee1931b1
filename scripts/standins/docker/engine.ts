/** The Docker engine, and what both kinds of resource need of it. */
import { isDeepStrictEqual } from "node:util";
import type { DiffResult } from "@pulumi/pulumi/provider/index.js";
import Docker from "dockerode";
import { isRecord, type Properties, plain } from "../wire.ts";

/** DOCKER_HOST if set, else /var/run/docker.sock. The real plugin's own setting for it, `docker:host`, does not arrive here. */
export const engine = new Docker();

export interface Label {
  label: string;
  value: string;
}

export function labelMap(labels: readonly Label[] = []): Record<string, string> {
  return Object.fromEntries(labels.map(({ label, value }) => [label, value]));
}

/** What the engine's API answers for something that is not there. */
export function isAbsent(error: unknown): boolean {
  return (error as { statusCode?: number }).statusCode === 404;
}

/**
 * Compares the inputs named by `known` with the state that came of them or that a refresh has read. Lists in those named by
 * `sets` have no order in the real plugin. Everything but `updated` makes the resource anew, the old one first, because its
 * name is taken.
 */
export function diffOf(
  state: Properties,
  inputs: Properties,
  keys: { known: readonly string[]; sets: readonly string[]; updated: readonly string[] },
): DiffResult {
  const before = plain(state) as Properties;
  const after = plain(inputs) as Properties;
  const comparable = (key: string, value: unknown): unknown => (keys.sets.includes(key) ? inOneOrder(value) : value);
  const changed = keys.known.filter(
    (key) => !isDeepStrictEqual(comparable(key, before[key]), comparable(key, after[key])),
  );
  const replaces = changed.filter((key) => !keys.updated.includes(key));
  return { changes: changed.length > 0, replaces, deleteBeforeReplace: replaces.length > 0 };
}

/** Text that is the same for values which differ only in the order of their lists or keys. */
function inOneOrder(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(inOneOrder).sort().join()}]`;
  if (!isRecord(value)) return JSON.stringify(value) ?? "";
  return `{${Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${inOneOrder(value[key])}`)
    .join()}}`;
}
