import type { Topology } from "../schema.ts";
import type { Rule, Violation } from "./rule.ts";

const PATH = "twofold:node.wallet";
type PostgresWallet = Extract<Topology["node"]["wallet"], { kind: "postgres" }>;

/** A rule that speaks only where the wallet is in PostgreSQL. */
function rule(parts: Omit<Rule, "check">, check: (wallet: PostgresWallet) => Violation[]): Rule {
  return { ...parts, check: ({ node: { wallet } }) => (wallet.kind === "postgres" ? check(wallet) : []) };
}

const memberCount = rule(
  {
    code: "PG_MEMBER_COUNT",
    why: "with three members and one required standby any one may die and commits go on in two places; with two, every commit waits as soon as one of them is dead",
    fix: "declare three members with synchronousStandbys: 1, or accept it with acceptWriteStop: true",
  },
  ({ members, synchronousStandbys, acceptWriteStop }) => {
    if (members.length === 3 && synchronousStandbys === 1) return [];
    if (members.length > 1 && acceptWriteStop) return [];
    return [
      {
        path: `${PATH}.members`,
        what: `it has ${members.length} with ${synchronousStandbys} required standby${synchronousStandbys === 1 ? "" : "s"}`,
        received: members,
        ...(members.length === 1
          ? { why: "one member is one place", fix: "declare three members with synchronousStandbys: 1" }
          : {}),
        ...(members.length > synchronousStandbys + 2
          ? {
              why: `a commit is in ${synchronousStandbys + 1} of ${members.length} places: when as many members die at once, those that are left may not have it, and further members give it no further place`,
            }
          : {}),
      },
    ];
  },
);

const standbys = rule(
  {
    code: "PG_STANDBYS",
    why: "Patroni waits for no more standbys than there are at the moment: when one of them dies it takes the number down by itself, to one at least, so that a commit is surely in two places and never in three",
    fix: "declare synchronousStandbys: 1, or leave it out",
  },
  ({ synchronousStandbys }) =>
    synchronousStandbys === 1
      ? []
      : [
          {
            path: `${PATH}.synchronousStandbys`,
            what: "a commit can't be held back until more than one standby has it",
            received: synchronousStandbys,
          },
        ],
);

const etcdCount = rule(
  {
    code: "PG_ETCD_COUNT",
    why: "etcd decides by majority: fewer than three cannot lose one, and an even number can lose no more than one fewer",
    fix: "declare three or five hosts",
  },
  ({ etcd }) =>
    etcd.length < 3 || etcd.length % 2 === 0
      ? [{ path: `${PATH}.etcd`, what: `${etcd.length} is not an odd number of three or more`, received: etcd }]
      : [],
);

const twice = rule(
  {
    code: "PG_HOST_TWICE",
    why: "two members on one host die together",
    fix: "name each host once",
  },
  (wallet) =>
    (["members", "etcd"] as const).flatMap((key) =>
      wallet[key].flatMap((host, index) =>
        wallet[key].indexOf(host) < index
          ? [{ path: `${PATH}.${key}[${index}]`, what: "it is named already", received: host }]
          : [],
      ),
    ),
);

/** Two names of one machine pass for two hosts where their ports for SSH differ; the members meet at addresses alone. */
const sameAddress: Rule = {
  code: "PG_SAME_ADDRESS",
  why: "members meet at their addresses and usual ports: two at one address are one machine, and die together",
  fix: "give each its own host; where hosts have addresses of their own among each other, declare them as peerAddress",
  check({ hosts, node: { wallet } }) {
    if (wallet.kind !== "postgres") return [];
    const names = [...new Set([...wallet.members, ...wallet.etcd])];
    const addressOf = (name: string) => (hosts[name]?.peerAddress ?? hosts[name]?.address)?.toLowerCase();
    return names.flatMap((name, index) => {
      const address = addressOf(name);
      const twin = names.slice(0, index).find((other) => addressOf(other) === address);
      if (address === undefined || twin === undefined) return [];
      const key = hosts[name]?.peerAddress === undefined ? "address" : "peerAddress";
      return [{ path: `twofold:hosts.${name}.${key}`, what: `${twin} is at the same address`, received: address }];
    });
  },
};

export const POSTGRES_RULES: readonly Rule[] = [memberCount, standbys, etcdCount, twice, sameAddress];
