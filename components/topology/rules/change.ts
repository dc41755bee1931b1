/** Rules on a change of a topology: what a node is must not change under it. */
import { mainDatabase } from "../places.ts";
import { type Problem, show } from "../problem.ts";
import type { Topology } from "../schema.ts";

/** What makes a node the node that it is; kept as a stack output, so that the next preview can compare. */
export interface NodeIdentity {
  node: string;
  network: string;
  host: string;
  walletKind: string;
  /** Path of the main database, or nothing for a wallet in PostgreSQL. */
  main: string | null;
  /** Hosts of the PostgreSQL cluster; outputs of earlier versions don't have them. */
  members?: string[];
  etcd?: string[];
}

export function identityOf(topology: Topology): NodeIdentity {
  const { name, network, host, wallet } = topology.node;
  return {
    node: name,
    network,
    host,
    walletKind: wallet.kind,
    main: wallet.kind === "sqlite" ? mainDatabase(topology) : null,
    ...(wallet.kind === "postgres" ? { members: wallet.members, etcd: wallet.etcd } : {}),
  };
}

const CHANGES: {
  key: Exclude<keyof NodeIdentity, "members" | "etcd">;
  code: string;
  path: string;
  why: string;
  fix: string;
}[] = [
  {
    key: "node",
    code: "CHANGE_NODE_NAME",
    path: "twofold:node.name",
    why: "volumes, accounts and marks are named after it; another name finds none of them and begins a new node",
    fix: "keep the name; make another node with a stack of its own",
  },
  {
    key: "network",
    code: "CHANGE_NETWORK",
    path: "twofold:node.network",
    why: "a node's wallet belongs to one network, and on the other one lightningd would begin a new node",
    fix: "make another node with a stack of its own",
  },
  {
    key: "host",
    code: "CHANGE_NODE_HOST",
    path: "twofold:node.host",
    why: "the old host would go on running the same node: two of them with one identity revoke each other's states, and the peers take the money",
    fix: "keep the host; a node is moved by stopping and fencing the old host first, never by a change of the config",
  },
  {
    key: "walletKind",
    code: "CHANGE_WALLET_KIND",
    path: "twofold:node.wallet.kind",
    why: "Core Lightning cannot turn a SQLite wallet into one in PostgreSQL or back; the node would begin anew, without its channels",
    fix: "make a new node with a stack of its own, move the funds to it, then shut the old one down for good",
  },
  {
    key: "main",
    code: "CHANGE_DIRECTORY",
    path: "twofold:node.directory",
    why: "lightningd would find no database at the new place; the old one would stay behind, unwatched",
    fix: "keep volume.mount and directory as they were",
  },
];

/** What the change would do to the node that is there. */
export function checkChange(before: NodeIdentity, after: Topology): Problem[] {
  const now = identityOf(after);
  const sameWallet = before.walletKind === now.walletKind;
  return [...fixedParts(before, now), ...(sameWallet ? membership(before, now) : [])];
}

/**
 * Members come and go one at a time, so that each step can be seen to hold before the next. etcd's number is odd before and after, so it
 * grows and shrinks by two; its members are taken in and out one after the other all the same.
 */
function membership(before: NodeIdentity, now: NodeIdentity): Problem[] {
  return (["members", "etcd"] as const).flatMap((key) => {
    const [old, next] = [before[key] ?? now[key] ?? [], now[key] ?? []];
    const come = next.filter((host) => !old.includes(host));
    const go = old.filter((host) => !next.includes(host));
    const most = key === "etcd" && old.length !== next.length ? 2 : 1;
    if (come.length <= most && go.length <= most) return [];
    return [
      {
        code: "CHANGE_PG_MEMBERS",
        path: `twofold:node.wallet.${key}`,
        what: `more than one member would ${go.length > most ? "go" : "come"} at once`,
        received: `${show(next)}, and it was ${show(old)}`,
        why: "a commit is in two places by what the members have, and a majority is counted among them: with several changed at once, one that fails on its way can cost both",
        fix: "change one (or put one in another's place), run pulumi up, see in ./twofold status that all take part, then change the next",
      },
    ];
  });
}

function fixedParts(before: NodeIdentity, now: NodeIdentity): Problem[] {
  return CHANGES.filter(({ key }) => before[key] !== now[key])
    .filter(({ key }) => !(key === "main" && (before.walletKind !== now.walletKind || before.network !== now.network)))
    .map(({ key, code, path, why, fix }) => ({
      code,
      path,
      what: `it was ${show(before[key])} and cannot change`,
      received: show(now[key]),
      why,
      fix,
    }));
}
