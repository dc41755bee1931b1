import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import test from "ava";
import type { Command } from "commander";
import fc from "fast-check";
import ts from "typescript";
import type { Topology } from "../../components/topology/schema.ts";
import {
  type Pass,
  type Proofs,
  proofText,
  readProofs,
  type Sentence,
  type TestId,
  withPass,
} from "../../components/topology/survival/proofs.ts";
import { FAILURE_IDS, FAILURES, type Failure, REPAIRS } from "../../components/topology/survival/row.ts";
import { type Situation, situationOf } from "../../components/topology/survival/situation.ts";
import { sqliteOutcome } from "../../components/topology/survival/sqlite.ts";
import { badness, COLUMNS, type Column, LOST, survives } from "../../components/topology/survival/words.ts";
import {
  checkSurvival,
  nextDigest,
  type RecordedTable,
  readTableCells,
  recordedTable,
  renderTable,
  type SurvivalTable,
  sentenceOf,
  survivalTable,
  type TableCells,
  worse,
} from "../../components/topology/survival.ts";
import { buildProgram } from "../../scripts/verbs/program.ts";
import { type Config, localConfig, postgresConfig, raidConfig, shaped, sshfsConfig } from "../helpers/topologies.ts";

const TESTS = resolve(import.meta.dirname, "..");

const table = (config: Config, proofs: Proofs = {}): SurvivalTable => survivalTable(shaped(config), proofs);
/** The proofs of one test that has passed with the real lightningd on this topology. */
const proved = (id: TestId, config: Config, date: string): Proofs =>
  withPass({}, sentenceOf(id, shaped(config)), { date, lightningd: "v26.06.6", runs: 100 });
const cells = (config: Config, failure: Failure) => table(config).cells[failure];

function with_(config: Config, change: (config: Config) => void): Config {
  change(config);
  return config;
}

const withoutSecretCopy = (config: Config) =>
  with_(config, (c) => {
    c.node.copies = [{ kind: "hsm-secret", confirmed: "not-yet" }];
  });
const journal = (config: Config, mode: "wal" | "delete") =>
  with_(config, (c) => {
    c.node.wallet.journalMode = mode;
  });

// What each failure does, as somebody who has lost channels would put it.
const EXPECTED: {
  title: string;
  config: () => Config;
  failure: Failure;
  lost?: string;
  standsStill?: RegExp;
  repair?: RegExp;
}[] = [
  {
    title: "raid1 goes on without one disk",
    config: raidConfig,
    failure: "disk",
    lost: LOST.nothing,
    standsStill: /^does not stop$/,
  },
  {
    title: "raid1 without a replica loses all channel money with two disks",
    config: raidConfig,
    failure: "two-disks",
    lost: LOST.channelMoney,
    standsStill: /^for good$/,
  },
  {
    title: "a replica saves the wallet when raid1 loses two disks",
    config: localConfig,
    failure: "two-disks",
    lost: LOST.nothing,
    repair: /hsm_secret from its copy.*restore replica/,
  },
  {
    title: "a replica is worth nothing without hsm_secret",
    config: () => withoutSecretCopy(localConfig()),
    failure: "two-disks",
    lost: LOST.all,
    standsStill: /^for good$/,
  },
  {
    title: "raid1c3 goes on without two disks",
    config: () =>
      with_(raidConfig(), (c) => {
        c.node.volume.profile = "raid1c3";
        c.node.volume.devices.push("/dev/disk/by-id/c");
      }),
    failure: "two-disks",
    lost: LOST.nothing,
    standsStill: /^does not stop$/,
  },
  {
    title: "raid10 does not count on luck with two disks",
    config: () =>
      with_(raidConfig(), (c) => {
        c.node.volume.profile = "raid10";
        c.node.volume.devices.push("/dev/disk/by-id/c", "/dev/disk/by-id/d");
      }),
    failure: "two-disks",
    lost: LOST.channelMoney,
  },
  {
    title: "a dead disk and a reboot stop the node until a replacement",
    config: raidConfig,
    failure: "disk-reboot",
    lost: LOST.nothing,
    standsStill: /^until the disk is replaced/,
  },
  {
    title: "WAL keeps the last commit at a power cut",
    config: raidConfig,
    failure: "power-node",
    lost: LOST.nothing,
    standsStill: /^restarts by itself$/,
  },
  {
    title: "the rollback journal loses the last commit at a power cut",
    config: () => journal(raidConfig(), "delete"),
    failure: "power-node",
    lost: LOST.lastCommit,
  },
  {
    title: "a local replica with the rollback journal loses the same commit",
    config: () => journal(localConfig(), "delete"),
    failure: "power-node",
    lost: LOST.lastCommit,
  },
  {
    title: "a remote replica with the rollback journal keeps it while its host has power",
    config: () => journal(sshfsConfig(), "delete"),
    failure: "power-node",
    lost: LOST.nothing,
    repair: /restore replica/,
  },
  {
    title: "a remote replica with the rollback journal loses it when both lose power",
    config: () => journal(sshfsConfig(), "delete"),
    failure: "power-all",
    lost: LOST.lastCommit,
  },
  {
    title: "WAL on both hosts keeps it when both lose power",
    config: () => journal(sshfsConfig(), "wal"),
    failure: "power-all",
    lost: LOST.nothing,
  },
  {
    title: "a local replica does not survive its host",
    config: localConfig,
    failure: "node-host",
    lost: LOST.channelMoney,
  },
  {
    title: "a remote replica survives the node's host",
    config: sshfsConfig,
    failure: "node-host",
    lost: LOST.nothing,
    repair: /restore replica/,
  },
  {
    title: "a remote replica at another site survives the site",
    config: sshfsConfig,
    failure: "site",
    lost: LOST.nothing,
  },
  {
    title: "a remote replica at the same site does not",
    config: () =>
      with_(sshfsConfig(), (c) => {
        c.hosts.vault.site = "home";
      }),
    failure: "site",
    lost: LOST.channelMoney,
  },
  {
    title: "sites that were not declared are not known to be apart",
    config: () =>
      with_(sshfsConfig(), (c) => {
        delete c.hosts.vault.site;
      }),
    failure: "site",
    lost: LOST.channelMoney,
  },
  {
    title: "a dead replica host stops the node until it is degraded",
    config: sshfsConfig,
    failure: "other-host",
    lost: LOST.nothing,
    standsStill: /^until .*degrade replica/,
  },
  {
    title: "a dead witness host does not stop a running node",
    config: localConfig,
    failure: "other-host",
    lost: LOST.nothing,
    standsStill: /^does not stop, but a restart waits$/,
  },
  {
    title: "a link that is cut stops a node with a remote replica",
    config: sshfsConfig,
    failure: "network",
    standsStill: /^until the link is back/,
  },
  {
    title: "a deleted main without a replica costs the channels",
    config: raidConfig,
    failure: "primary",
    lost: LOST.channels,
  },
  {
    title: "an image that is put back is noticed by a mark elsewhere",
    config: localConfig,
    failure: "host-rollback",
    lost: LOST.channels,
  },
  {
    title: "an image that is put back is noticed by nobody on a lonely host",
    config: raidConfig,
    failure: "host-rollback",
    lost: LOST.channelMoney,
    repair: /nothing notices/,
  },
  {
    title: "hsm_secret without a confirmed copy is all money",
    config: () => withoutSecretCopy(sshfsConfig()),
    failure: "hsm-secret",
    lost: LOST.all,
  },
  // PostgreSQL
  {
    title: "three members survive the primary without a hand",
    config: postgresConfig,
    failure: "primary",
    lost: LOST.nothing,
    standsStill: /^restarts by itself$/,
  },
  {
    title: "two members survive the primary and stop writing",
    config: () => postgresConfig(["alice", "vault"]),
    failure: "primary",
    lost: LOST.nothing,
    standsStill: /^until a standby is back/,
  },
  {
    title: "one member does not survive itself",
    config: () => postgresConfig(["vault"]),
    failure: "primary",
    lost: LOST.channels,
  },
  {
    title: "three members at three sites survive each of them",
    config: postgresConfig,
    failure: "site",
    lost: LOST.nothing,
  },
  {
    title: "a site with two of three members can take acknowledged commits with it",
    config: () =>
      with_(postgresConfig(), (c) => {
        c.hosts.eve.site = "office";
      }),
    failure: "site",
    lost: LOST.commits,
  },
  {
    title: "a site with all members takes everything in channels",
    config: () =>
      with_(postgresConfig(), (c) => {
        for (const host of Object.values<{ site?: string }>(c.hosts)) host.site = "home";
      }),
    failure: "site",
    lost: LOST.channelMoney,
  },
  {
    title: "an image of a host without a member has no wallet in it",
    config: () => postgresConfig(["vault", "eve"]),
    failure: "host-rollback",
    lost: LOST.nothing,
    standsStill: /^restarts by itself$/,
  },
  {
    title: "an image of a member's host is an old copy of the wallet",
    config: postgresConfig,
    failure: "host-rollback",
    lost: LOST.nothing,
    standsStill: /^until the cluster has its newest state/,
  },
  {
    title: "new disks have to be a volume before hsm_secret is put on them",
    config: postgresConfig,
    failure: "two-disks",
    lost: LOST.nothing,
    repair: /^by hand: pulumi up, then hsm_secret from its copy$/,
  },
  {
    title: "hsm_secret alone is put back where its volume is there",
    config: postgresConfig,
    failure: "hsm-secret",
    lost: LOST.nothing,
    repair: /^by hand: hsm_secret from its copy$/,
  },
  {
    title: "with the node's host the only mark is lost",
    config: () => postgresConfig(["vault", "eve"]),
    failure: "node-host",
    lost: LOST.nothing,
    repair: /, hsm_secret from its copy, then witness rebuild$/,
  },
  {
    title: "a mark on another host is left when the node's is lost",
    config: () =>
      with_(postgresConfig(["vault", "eve"]), (c) => {
        c.node.witness = ["vault"];
      }),
    failure: "node-host",
    lost: LOST.nothing,
    repair: /, then hsm_secret from its copy$/,
  },
];

for (const { title, config, failure, lost, standsStill, repair } of EXPECTED) {
  test(`${title} (${failure})`, (t) => {
    const row = cells(config(), failure);
    if (lost !== undefined) t.is(row?.lost, lost);
    if (standsStill !== undefined) t.regex(row?.standsStill ?? "", standsStill);
    if (repair !== undefined) t.regex(row?.repair ?? "", repair);
  });
}

test("a stopped node is safe for the shorter of cltv-delta and watchtime-blocks, from the options or Core Lightning's defaults", (t) => {
  const standsStill = (change: (config: Config) => void) =>
    cells(with_(sshfsConfig(), change), "other-host")?.standsStill;
  t.regex(standsStill(() => {}) ?? "", /after 34 blocks \(about 5 h 40 min\)$/);
  t.regex(
    standsStill((c) => {
      c.node.network = "signet";
    }) ?? "",
    /after 6 blocks \(about 1 h\)$/,
  );
  t.regex(
    standsStill((c) => {
      c.node.network = "regtest";
    }) ?? "",
    /after 6 blocks$/,
  );
  t.regex(
    standsStill((c) => {
      c.node.options["cltv-delta"] = 40;
    }) ?? "",
    /after 40 blocks/,
  );
  t.regex(
    standsStill((c) => {
      Object.assign(c.node.options, { "cltv-delta": "200", "watchtime-blocks": 100 });
    }) ?? "",
    /after 100 blocks/,
  );
});

// The table as a whole.

const anySituation: fc.Arbitrary<Situation> = fc
  .record({
    spareDisks: fc.integer({ min: 0, max: 3 }),
    mode: fc.constantFrom("wal" as const, "delete" as const),
    via: fc.constantFrom(undefined, "local" as const, "sshfs" as const, "nfs" as const),
    spareReplicaDisks: fc.integer({ min: 0, max: 3 }),
    otherSite: fc.boolean(),
    secretIsSafe: fc.boolean(),
    recover: fc.constantFrom("nowhere", "host", "site"),
    peers: fc.boolean(),
    blocks: fc.integer({ min: 1, max: 300 }),
  })
  .map(({ otherSite, recover, peers, blocks, via, ...rest }) => {
    const remote = via === "sshfs" || via === "nfs";
    return {
      ...rest,
      via,
      setup: "any",
      patience: { blocks, time: undefined },
      remote,
      remoteSite: remote && otherSite,
      recoverElsewhere: recover !== "nowhere",
      recoverAtOtherSite: recover === "site",
      witnessElsewhere: remote || peers,
    };
  });

function cellsOf(situation: Situation): TableCells {
  return Object.fromEntries(
    FAILURE_IDS.flatMap((failure) => {
      const outcome = sqliteOutcome(failure, situation);
      return outcome === undefined
        ? []
        : [
            [
              failure,
              {
                survives: survives(outcome.lost),
                lost: outcome.lost,
                standsStill: outcome.standsStill,
                repair: outcome.repair,
                proof: "not proved",
              },
            ],
          ];
    }),
  );
}

/** Each fact of a situation, made better. */
const BETTER: { title: string; change: (s: Situation) => Situation }[] = [
  { title: "another disk that may die", change: (s) => ({ ...s, spareDisks: s.spareDisks + 1 }) },
  { title: "WAL instead of the rollback journal", change: (s) => ({ ...s, mode: "wal" }) },
  { title: "RAID under the replica", change: (s) => ({ ...s, spareReplicaDisks: s.spareReplicaDisks + 1 }) },
  { title: "the replica at another site", change: (s) => ({ ...s, remoteSite: s.remote }) },
  { title: "a confirmed copy of hsm_secret", change: (s) => ({ ...s, secretIsSafe: true }) },
  { title: "emergency.recover on another host", change: (s) => ({ ...s, recoverElsewhere: true }) },
  {
    title: "emergency.recover at another site",
    change: (s) => ({ ...s, recoverAtOtherSite: true, recoverElsewhere: true }),
  },
  {
    title: "more patience of the peers",
    change: (s) => ({ ...s, patience: { ...s.patience, blocks: s.patience.blocks + 1 } }),
  },
];

for (const { title, change } of BETTER) {
  test(`${title} makes no cell worse, and a cell somewhere better`, (t) => {
    let better = false;
    fc.assert(
      fc.property(anySituation, (situation) => {
        const [before, after] = [cellsOf(situation), cellsOf(change(situation))];
        t.deepEqual(worse(before, after), []);
        better ||= worse(after, before).length > 0;
      }),
      { numRuns: 500 },
    );
    t.true(better);
  });
}

test("a mark on another host makes an image that was put back less of a loss", (t) => {
  const alone = { ...situationOf(shaped(raidConfig())) };
  const before = cellsOf(alone);
  const after = cellsOf({ ...alone, witnessElsewhere: true });
  t.deepEqual(
    worse(after, before).map(({ failure, column }) => [failure, column]),
    [["host-rollback", "lost"]],
  );
});

test("a node that lost nothing survives, one that lost a commit does so with a loss, and one without channels does not", (t) => {
  t.deepEqual(Object.values(LOST).map(survives), ["yes", "with a loss", "with a loss", "no", "no", "no"]);
});

test("every word that a table uses is one that can be compared", (t) => {
  const tables = [
    sshfsConfig(),
    localConfig(),
    raidConfig(),
    withoutSecretCopy(raidConfig()),
    journal(sshfsConfig(), "delete"),
    postgresConfig(),
    postgresConfig(["alice", "vault"]),
    postgresConfig(["vault"]),
  ].map((config) => table(config));
  for (const { rows } of tables) {
    for (const row of rows)
      for (const column of COLUMNS) t.false(Number.isNaN(badness(column, row.cells[column])), row.cells[column]);
  }
});

// Changes.

test("a replica that is given up is named cell by cell", (t) => {
  const config = sshfsConfig();
  delete config.node.wallet.replica;
  const lines = worse(table(sshfsConfig()).cells, table(config).cells);
  const lost = lines.filter(({ column }) => column === "lost").map(({ failure }) => failure);
  t.deepEqual(lost, ["two-disks", "node-host", "site", "primary", "old-copy", "host-rollback"]);
  t.true(lines.every(({ before, after }) => before !== after));
});

test("nothing is worse in a table that did not change, nor when only the date of a proof did", (t) => {
  const proofs = (date: string) => proved("survival:disk", raidConfig(), date);
  const before = table(raidConfig(), proofs("2026-11-01"));
  const after = table(raidConfig(), proofs("2026-11-23"));
  t.not(before.cells.disk?.proof, after.cells.disk?.proof);
  t.deepEqual(worse(before.cells, after.cells), []);
  t.is(before.digest, after.digest);
});

test("a proof that is gone is a cell that got worse", (t) => {
  const proofs = proved("survival:disk", raidConfig(), "2026-11-23");
  const [before, after] = [table(raidConfig(), proofs), table(raidConfig())];
  t.deepEqual(
    worse(before.cells, after.cells).map(({ failure, column }) => [failure, column]),
    [["disk", "proof"]],
  );
  t.not(before.digest, after.digest);
});

test("words of another version count as better than any, so that their change has to be accepted", (t) => {
  const after = table(raidConfig()).cells;
  const before = structuredClone(after);
  Object.assign(before.disk ?? {}, { lost: "not a satoshi" });
  t.deepEqual(
    worse(before, after).map(({ failure, column }) => [failure, column]),
    [["disk", "lost"]],
  );
});

test("each cell that differs gives the table another digest", (t) => {
  const digests = new Set(
    [
      sshfsConfig(),
      localConfig(),
      raidConfig(),
      journal(sshfsConfig(), "delete"),
      withoutSecretCopy(sshfsConfig()),
      postgresConfig(),
    ].map((config) => table(config).digest),
  );
  t.is(digests.size, 6);
  for (const digest of digests) t.regex(digest, /^[0-9a-f]{12}$/);
});

test("refuses a change that survives less, with what was and what would be, and the digest that accepts it", (t) => {
  const before = recorded(sshfsConfig());
  const after = table(raidConfig());
  const [problem] = checkSurvival(before, after, undefined);
  t.is(problem?.code, "SURVIVES_LESS");
  t.regex(problem?.what ?? "", /the node's host is lost, lost at most: nothing → all money in channels/);
  t.true(problem?.fix.includes(nextDigest(before, after)));
});

const accept = (digest: string): Topology["accept"] => ({ table: digest, reason: "the vault is sold" });
/** What an `up` of this topology records, after what the last one has. */
const recorded = (config: Config, before?: RecordedTable): RecordedTable => ({
  cells: table(config).cells,
  digest: nextDigest(before, table(config)),
});

test("an acceptance holds for just the change that it was given for", (t) => {
  const before = recorded(sshfsConfig());
  const after = table(raidConfig());
  const given = accept(nextDigest(before, after));
  t.deepEqual(checkSurvival(before, after, given), []);
  t.is(checkSurvival(before, after, accept(after.digest)).length, 1);
  const worseStill = table(withoutSecretCopy(raidConfig()));
  t.is(checkSurvival(before, worseStill, given).length, 1);
});

test("an acceptance that stays in the config does not accept the same change once more", (t) => {
  const first = recorded(sshfsConfig());
  const digest = nextDigest(first, table(raidConfig()));
  const given = accept(digest);
  const accepted = recorded(raidConfig(), first);
  t.is(accepted.digest, digest);
  t.deepEqual(checkSurvival(accepted, table(raidConfig()), given), [], "an up that changes nothing is refused");
  t.is(recorded(raidConfig(), accepted).digest, accepted.digest);
  for (const better of [sshfsConfig(), localConfig()]) {
    const improved = recorded(better, accepted);
    t.deepEqual(checkSurvival(accepted, table(better), given), []);
    t.is(checkSurvival(improved, table(raidConfig()), given).length, 1, "it was accepted silently");
  }
});

test("refuses to compare with a recorded table that can't be read, until that is accepted", (t) => {
  const after = table(sshfsConfig());
  for (const output of [{}, "text", { disk: "yes | and no" }, null]) {
    const before = recordedTable(readTableCells(output), output, "0123456789ab");
    const [problem] = checkSurvival(before, after, undefined);
    t.is(problem?.code, "SURVIVAL_UNREADABLE", JSON.stringify(output));
    t.deepEqual(checkSurvival(before, after, accept(nextDigest(before, after))), []);
  }
  t.is(recordedTable(undefined, undefined, undefined), undefined, "a new stack has recorded nothing");
});

test("a recorded table is the same one when its rows come back in another order", (t) => {
  const before = recorded(sshfsConfig());
  const turned = Object.fromEntries(Object.entries(before.cells ?? {}).reverse());
  t.is(nextDigest({ cells: turned, digest: before.digest }, table(sshfsConfig())), before.digest);
});

test("a new stack and a change for the better need no acceptance", (t) => {
  t.deepEqual(checkSurvival(undefined, table(raidConfig()), undefined), []);
  t.deepEqual(checkSurvival(recorded(raidConfig()), table(localConfig()), undefined), []);
});

test("a stack's output is read back as the table that it was, and anything else as none", (t) => {
  const { cells: written } = table(sshfsConfig());
  t.deepEqual(readTableCells(JSON.parse(JSON.stringify(written))), written);
  t.is(readTableCells(undefined), undefined);
  t.is(readTableCells({ disk: { survives: "yes" } }), undefined);
  t.is(readTableCells({}), undefined);
});

test("the printed table has every failure, and marks what changes", async (t) => {
  const text = (await renderTable(table(raidConfig()), table(sshfsConfig()).cells))
    .replace(/│/g, " ")
    .replace(/\s+/g, " ");
  for (const title of Object.values(FAILURES)) t.true(text.includes(title.split(" ").slice(0, 2).join(" ")), title);
  t.regex(text, /\* yes →/);
  t.notRegex(await renderTable(table(raidConfig())), /→/);
});

// Proofs.

const pass = (date: string, lightningd: string | null = "v26.06.6"): Pass => ({ date, lightningd, runs: 100 });

test("a row is proved by the oldest pass of all its tests with the real lightningd, and by nothing less", (t) => {
  const lost: Sentence = { id: "survival:primary", setup: "s", claim: "nothing; until …" };
  const restored: Sentence = { id: "repair:restore-replica", setup: "s", claim: "restore" };
  const both = [lost, restored];
  t.is(proofText(both, {}), "not proved: [survival:primary] [repair:restore-replica]");
  const half = withPass({}, lost, pass("2026-11-20"));
  t.is(proofText(both, half), "not proved: [repair:restore-replica]");
  const whole = withPass(half, { ...restored, setup: "any" }, pass("2026-11-01"));
  t.regex(proofText(both, whole), /^proved 2026-11-01: /);
  const unreal = withPass(withPass({}, lost, pass("2026-11-20", null)), restored, pass("2026-11-01"));
  t.is(proofText(both, unreal), "not proved with the real lightningd: [survival:primary]");
});

test("a pass with the lab daemon does not take the place of one with the real lightningd, and a newer real one does", (t) => {
  const disk: Sentence = { id: "survival:disk", setup: "raid1, wal", claim: "nothing" };
  const first = withPass({}, disk, pass("2026-11-01"));
  t.deepEqual(withPass(first, disk, pass("2026-11-20", null)), first);
  const next = withPass(first, disk, pass("2026-11-23", "v26.06.7"));
  t.is(next["survival:disk"]?.["raid1, wal"]?.nothing?.date, "2026-11-23");
  const beside = withPass(next, { ...disk, id: "survival:bit-rot" }, pass("2026-11-23", null));
  t.deepEqual(Object.keys(beside), ["survival:bit-rot", "survival:disk"]);
});

test("a proof of one setup says nothing of another", (t) => {
  t.is(situationOf(shaped(raidConfig())).setup, "raid1, wal");
  const proofs = proved("survival:power-node", raidConfig(), "2026-11-20");
  t.regex(table(raidConfig(), proofs).cells["power-node"]?.proof ?? "", /^proved 2026-11-20/);
  t.regex(table(journal(raidConfig(), "delete"), proofs).cells["power-node"]?.proof ?? "", /^not proved/);
});

test("nor does it of a topology of the same setup whose row says something else", (t) => {
  const without = sshfsConfig();
  without.node.copies = [];
  t.is(situationOf(shaped(without)).setup, situationOf(shaped(sshfsConfig())).setup);
  const proofs = {
    ...proved("survival:hsm-secret", sshfsConfig(), "2026-11-20"),
    ...proved("survival:bit-rot", sshfsConfig(), "2026-11-20"),
  };
  t.regex(table(sshfsConfig(), proofs).cells["hsm-secret"]?.proof ?? "", /^proved/);
  t.is(table(without, proofs).cells["hsm-secret"]?.proof, "not proved: [survival:hsm-secret]");
  // This row is the same with and without the copy.
  t.regex(table(without, proofs).cells["bit-rot"]?.proof ?? "", /^proved/);
});

test("how many blocks a stopped node is safe for is no part of what was proved", (t) => {
  const patient = sshfsConfig();
  patient.node.options = { "cltv-delta": 100, "watchtime-blocks": 1000 };
  const proofs = proved("survival:hsm-secret", sshfsConfig(), "2026-11-20");
  const [one, other] = [table(sshfsConfig(), proofs), table(patient, proofs)].map(({ cells }) => cells["hsm-secret"]);
  t.not(one?.standsStill, other?.standsStill);
  t.is(one?.proof, other?.proof);
});

test("the committed proofs are of tests that cells name", (t) => {
  const known = new Set(NAMED);
  t.deepEqual(
    Object.keys(readProofs()).filter((id) => !known.has(id)),
    [],
  );
});

/** All topologies' worth of cells: every kind, way, mode and profile that the schema knows. */
const NAMED: string[] = [
  ...new Set(
    [
      sshfsConfig(),
      localConfig(),
      raidConfig(),
      journal(sshfsConfig(), "wal"),
      journal(localConfig(), "delete"),
      postgresConfig(),
    ]
      .flatMap((config) => table(config).rows)
      .flatMap(({ tests }) => COLUMNS.flatMap((column: Column) => tests[column])),
  ),
].sort();

test("every cell that applies names a test", (t) => {
  for (const config of [sshfsConfig(), localConfig(), raidConfig(), postgresConfig()]) {
    for (const { failure, cells: row, tests } of table(config).rows) {
      for (const column of COLUMNS) {
        t.is(tests[column].length === 0, row[column] === "does not apply", `${failure}, ${column}`);
      }
    }
  }
});

/** What makes a test of its title: ava, and the functions of the prove folder that add nothing but repetitions. */
const MAKES_TESTS = /^(test(\.serial)?|proves|repeatedly)$/;

/** Titles of the tests of a source that run; a title in a table counts by its key `proves`, if a test's title is made of that. */
function titlesOf(source: string): string[] {
  const titles: string[] = [];
  const tabled: string[] = [];
  let usesTable = false;
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && MAKES_TESTS.test(node.expression.getText())) {
      const title = node.arguments[0]?.getText() ?? "";
      titles.push(title);
      usesTable ||= /\$\{(\w+\.)?proves\b/.test(title);
    }
    if (ts.isPropertyAssignment(node) && node.name.getText() === "proves") tabled.push(node.initializer.getText());
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile("a.ts", source, ts.ScriptTarget.Latest, true));
  return [...titles, ...(usesTable ? tabled : [])];
}

test("every test that a cell names is in the test tree, in the title of one that is not skipped", (t) => {
  const titles = readdirSync(TESTS, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !file.endsWith("survival.test.ts"))
    .map((file) => readFileSync(resolve(TESTS, file), "utf8"))
    .filter((source) => /\[(survival|repair):/.test(source))
    .flatMap(titlesOf);
  t.deepEqual(
    NAMED.filter((id) => !titles.some((title) => title.includes(`[${id}]`))),
    [],
    "these tests are missing",
  );
});

test("a test that is skipped, a comment, and a table of which no title is made are no test of a cell", (t) => {
  const id = "[survival:disk]";
  t.deepEqual(
    titlesOf(`test.skip("a ${id}", f); test.serial.skip("b ${id}", f); test.todo("c ${id}"); // test("${id}")`),
    [],
  );
  t.deepEqual(titlesOf(`const all = [{ proves: "${id}" }]; test("d", f)`), ['"d"']);
  t.true(titlesOf(`const all = [{ proves: "${id}" }]; test.serial(\`\${one.proves} e\`, f)`).includes(`"${id}"`));
  t.true(titlesOf(`test.serial("f ${id}", f)`).some((title) => title.includes(id)));
});

test("every verb that a cell names is one of the command line", (t) => {
  const verbs = wordsOf(buildProgram(() => undefined));
  const named = Object.values(REPAIRS).map((text) => text.replace("./twofold ", ""));
  t.true(verbs.includes("restore replica"));
  t.deepEqual(
    named.filter((verb) => !verbs.includes(verb)),
    [],
  );
});

/** "status", "restore replica", …: verbs with the words that choose what they do. */
function wordsOf(command: Command, prefix = ""): string[] {
  return command.commands.flatMap((child) => {
    const name = `${prefix}${child.name()}`;
    const choices = child.registeredArguments[0]?.argChoices ?? [];
    return child.commands.length > 0
      ? wordsOf(child, `${name} `)
      : [name, ...choices.map((choice) => `${name} ${choice}`)];
  });
}
