import type { Topology } from "../schema.ts";

/** One place that breaks a rule. */
export interface Violation {
  /** In the stack's config: twofold:node.volume.devices[1]. */
  path: string;
  what: string;
  /** The value received, as JSON would show it. */
  received: unknown;
  /** Where it is not the rule's own. */
  why?: string;
  fix?: string;
}

/** What a topology has to keep, decided from the topology alone. */
export interface Rule {
  code: string;
  why: string;
  fix: string;
  check(topology: Topology): Violation[];
}
