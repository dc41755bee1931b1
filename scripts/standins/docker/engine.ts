/** The Docker engine, and what both kinds of resource need of it. */
import { isDeepStrictEqual } from "node:util";
import type { DiffResult } from "@pulumi/pulumi/provider/index.js";
import Docker from "dockerode";
import { type Properties, plain } from "../wire.ts";

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
 * Compares the inputs named by `known` with the state that came of them. Lists named by `sets` have no order in the real
 * plugin; everything but `updated` makes the resource anew, the old one first, because its name is taken.
 */
export function diffOf(
  state: Properties,
  inputs: Properties,
  keys: { known: readonly string[]; sets: readonly string[]; updated: readonly string[] },
): DiffResult {
  const before = inAnyOrder(plain(state) as Properties, keys.sets);
  const after = inAnyOrder(plain(inputs) as Properties, keys.sets);
  const changed = keys.known.filter((key) => !isDeepStrictEqual(before[key], after[key]));
  if (changed.length === 0) return { changes: false };
  const replaces = changed.filter((key) => !keys.updated.includes(key));
  // `changes` is left out: the engine then compares for itself and can show what changed inside each input.
  return { replaces, deleteBeforeReplace: true };
}

function inAnyOrder(properties: Properties, sets: readonly string[]): Properties {
  const sorted = (value: unknown): unknown =>
    Array.isArray(value) ? value.map((item) => JSON.stringify(item)).sort() : value;
  return Object.fromEntries(
    Object.entries(properties).map(([key, value]) => [key, sets.includes(key) ? sorted(value) : value]),
  );
}
