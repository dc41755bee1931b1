/** All rules, and their check. What only the host can tell (two names of one disk, sizes, signatures) is the stages' business. */
import { type Problem, show } from "../problem.ts";
import type { Topology } from "../schema.ts";
import { COPY_RULES } from "./copies.ts";
import { HOST_RULES } from "./hosts.ts";
import { OPTION_RULES } from "./options.ts";
import { POSTGRES_RULES } from "./postgres.ts";
import { RAID_RULES } from "./raid.ts";
import { REPLICA_RULES } from "./replica.ts";
import type { Rule } from "./rule.ts";
import { VOLUME_RULES } from "./volumes.ts";
import { WALLET_RULES } from "./wallet.ts";
import { WITNESS_RULES } from "./witness.ts";

export const RULES: readonly Rule[] = [
  ...HOST_RULES,
  ...VOLUME_RULES,
  ...RAID_RULES,
  ...WALLET_RULES,
  ...REPLICA_RULES,
  ...WITNESS_RULES,
  ...OPTION_RULES,
  ...COPY_RULES,
  ...POSTGRES_RULES,
];

/** Every violation of every rule. */
export function checkRules(topology: Topology): Problem[] {
  return RULES.flatMap(({ code, why, fix, check }) =>
    check(topology).map((violation) => ({ code, why, fix, ...violation, received: show(violation.received) })),
  );
}
