import type { Rule } from "./rule.ts";

const hsmUnconfirmed: Rule = {
  code: "HSM_UNCONFIRMED",
  why: "without hsm_secret no copy of the wallet is worth anything, and a disk that dies takes on-chain funds and channels alike",
  fix: "add {kind: hsm-secret, confirmed: DAY} to twofold:node.copies after a copy on paper was read back and compared; for a node that is still to be made write confirmed: not-yet, and the day after its init",
  check: ({ node: { network, copies } }) =>
    network === "bitcoin" && !copies.some(({ kind }) => kind === "hsm-secret")
      ? [{ path: "twofold:node.copies", what: "nothing is said of the off-host copy of hsm_secret", received: copies }]
      : [],
};

const notMade: Rule = {
  code: "COPY_NOT_MADE",
  why: "this version does not make such a copy, and a copy that is declared and not made looks like protection",
  fix: "remove it, and have it made by other means until then",
  check: ({ node: { copies } }) =>
    copies.flatMap((copy, index) =>
      copy.kind === "hsm-secret"
        ? []
        : [{ path: `twofold:node.copies[${index}]`, what: `a ${copy.kind} is not made yet`, received: copy }],
    ),
};

const sqliteOnly: Rule = {
  code: "COPY_SQLITE_ONLY",
  why: "a file copy is one of lightningd's SQLite file; with PostgreSQL there is no such file",
  fix: "remove it: base backups of the cluster take its place",
  check: ({ node: { copies, wallet } }) =>
    wallet.kind !== "postgres"
      ? []
      : copies.flatMap((copy, index) =>
          copy.kind === "file-copy"
            ? [{ path: `twofold:node.copies[${index}]`, what: "the wallet is in PostgreSQL", received: copy }]
            : [],
        ),
};

const onNodeHost: Rule = {
  code: "COPY_ON_NODE_HOST",
  why: "lightningd keeps emergency.recover there already; the copy is for the day on which that host is gone",
  fix: "name another host",
  check: ({ node: { copies, host } }) =>
    copies.flatMap((copy, index) =>
      copy.kind === "channel-backup" && copy.to === host
        ? [{ path: `twofold:node.copies[${index}].to`, what: "it is the node's own host", received: copy.to }]
        : [],
    ),
};

export const COPY_RULES: readonly Rule[] = [hsmUnconfirmed, notMade, sqliteOnly, onNodeHost];
