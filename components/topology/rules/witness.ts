import { hostsApart } from "../places.ts";
import type { Rule } from "./rule.ts";

const PATH = "twofold:node.witness";

const none: Rule = {
  code: "WITNESS_NONE",
  why: "without a mark of the newest state nobody can tell an old copy from a new one, and an old one gives the peers all the money",
  fix: "remove 'witness' (the hosts are then chosen), or name at least one host",
  check: ({ node: { witness } }) =>
    witness?.length === 0 ? [{ path: PATH, what: "the list is empty", received: witness }] : [],
};

const twice: Rule = {
  code: "WITNESS_TWICE",
  why: "a host named twice is one place",
  fix: "name each host once",
  check: ({ node: { witness = [] } }) =>
    witness.flatMap((host, index) =>
      witness.indexOf(host) < index ? [{ path: `${PATH}[${index}]`, what: "it is named already", received: host }] : [],
    ),
};

const tooNear: Rule = {
  code: "WITNESS_TOO_NEAR",
  why: "a mark beside a copy is lost or put back together with it, and then an old state looks like the newest",
  fix: "name a host that keeps no copy of the wallet as well, or remove 'witness' (the hosts are then chosen)",
  check(topology) {
    const { witness } = topology.node;
    if (witness === undefined || witness.length === 0) return [];
    const far = hostsApart(topology);
    if (far.length === 0 || witness.some((name) => far.includes(name))) return [];
    return [
      { path: PATH, what: `none of these is apart from the copies, and ${far.join(", ")} would be`, received: witness },
    ];
  },
};

export const WITNESS_RULES: readonly Rule[] = [none, twice, tooNear];
