import test from "ava";
import type { HostStatus } from "../../scripts/host/commands/status.ts";
import type { ClusterStatus } from "../../scripts/host/postgres/status.ts";
import type { VolumeStatus } from "../../scripts/host/status/volume.ts";
import { hostText } from "../../scripts/verbs/status.ts";

const none = { write: 0, read: 0, flush: 0, corruption: 0, generation: 0 };
const volume: VolumeStatus = {
  name: "lightning",
  mount: "/srv/lightning",
  mounted: true,
  profile: "raid1",
  profiles: ["raid1"],
  devices: [
    { id: 1, path: "/dev/sda", bytes: 2 ** 30, errors: none },
    { id: 2, path: "/dev/sdb", bytes: 2 ** 30, errors: none },
  ],
  scrub: { started: "2026-11-22T00:00:00.000Z", state: "finished", errors: "no errors found", uncorrectable: 0 },
  bytesFree: 2 ** 29,
};
const textOf = (value: Partial<HostStatus>) =>
  hostText({
    host: "alice",
    kind: "answer",
    status: 0,
    value: {
      host: "alice",
      volumes: [],
      alerts: undefined,
      node: undefined,
      gate: undefined,
      cluster: undefined,
      ...value,
    },
  });

test("a healthy volume is told without alarm", (t) => {
  t.is(
    textOf({ volumes: [volume] }),
    [
      "alice",
      "  volume lightning at /srv/lightning: mounted, raid1, 0.5 GiB free",
      "    device 1: /dev/sda, 1.0 GiB, no errors",
      "    device 2: /dev/sdb, 1.0 GiB, no errors",
      "    last scrub 2026-11-22T00:00:00.000Z: finished, no errors found",
      "",
    ].join("\n"),
  );
});

test("a missing device, device errors, foreign chunks and lost data are told in capitals", (t) => {
  const text = textOf({
    volumes: [
      {
        ...volume,
        profiles: ["raid1", "single"],
        devices: [
          { id: 1, path: "/dev/sda", bytes: 2 ** 30, errors: { ...none, write: 3, corruption: 7 } },
          { id: 2, path: undefined, bytes: 0, errors: none },
        ],
        scrub: { started: "2026-11-22T00:00:00.000Z", state: "finished", errors: "csum=7", uncorrectable: 5 },
      },
    ],
  });
  t.regex(text, /raid1 and single, DECLARED AS raid1/);
  t.regex(text, /device 1: .*ERRORS: write 3, corruption 7/);
  t.regex(text, /device 2: MISSING/);
  t.regex(text, /csum=7, 5 UNCORRECTABLE/);
});

test("metadata that is kept twice on one device is no other profile than single", (t) => {
  t.regex(textOf({ volumes: [{ ...volume, profile: "single", profiles: ["dup", "single"] }] }), /mounted, single,/);
  t.regex(textOf({ volumes: [{ ...volume, profile: "raid1", profiles: ["dup"] }] }), /dup, DECLARED AS raid1/);
});

test("a volume that is not mounted says why, and nothing of its devices", (t) => {
  const text = textOf({ volumes: [{ ...volume, mounted: false, problem: "nothing is mounted there", devices: [] }] });
  t.regex(text, /NOT MOUNTED: nothing is mounted there/);
});

test("a node tells its id when it answers, and where to look when it does not", (t) => {
  const unit = { active: "active", sub: "running", since: "2026-11-23T05:00:00.000Z", restarts: 2, lastStatus: 0 };
  const info = { id: "02ab", alias: "alice", version: "v26.06.6", blockheight: 9, peers: 1, activeChannels: 3 };
  const up = textOf({ node: { name: "alice", network: "bitcoin", unit, info } });
  t.regex(up, /node alice \(bitcoin\): active, running since 2026-11-23T05:00:00\.000Z, restarted 2 times/);
  t.regex(up, /id 02ab\n.*alias alice, v26\.06\.6, block 9, 1 peers, 3 active channels/);
  t.regex(
    textOf({ node: { name: "alice", network: "bitcoin", unit, info: undefined } }),
    /does not answer; journalctl/,
  );
});

test("a host without an answer is told with the reason, and with what to do if it only lacks the program", (t) => {
  t.is(
    hostText({ host: "vault", kind: "failed", error: "ssh/unreachable: x" }),
    "vault: no answer\n  ssh/unreachable: x\n",
  );
  t.regex(hostText({ host: "vault", kind: "no-program", error: "x" }), /to do: run pulumi up/);
});

const member = { name: "pg1", role: "leader", state: "running", timeline: 3 };
const cluster: ClusterStatus = {
  members: [member, { ...member, name: "pg2", role: "sync_standby", state: "streaming", lag: 0 }],
  paused: false,
  synchronous: undefined,
  postgres: true,
  copy: { dataVersion: 42, position: "0/3000060" },
  flush: [
    { name: "pg2", sync: true, ms: 0.8 },
    { name: "pg3", sync: false, ms: null },
  ],
  etcd: true,
  certificates: { etcd: 390, postgres: 12 },
};
const linesOf = (status: Partial<ClusterStatus>) => textOf({ host: "pg1", cluster: { ...cluster, ...status } });

test("the primary's host tells all members, what the wallet has there, and how long a commit takes to its standbys", (t) => {
  const text = hostText({
    host: "pg1",
    kind: "answer",
    status: 0,
    value: { host: "pg1", volumes: [], alerts: undefined, node: undefined, gate: undefined, cluster },
  });
  t.is(
    text,
    [
      "pg1",
      "  PostgreSQL: pg1: primary, running, timeline 3",
      "  PostgreSQL: pg2: synchronous standby, streaming, timeline 3",
      "  wallet here: data_version 42, log up to 0/3000060",
      "  a commit is flushed: by pg2 after 0.8 ms (commits wait for it); by pg3 NOT IN TIME",
      "  etcd: answers, with a majority",
      "  certificate etcd: good for 390 days",
      "  certificate postgres: ENDS IN 12 DAYS; ./twofold certificates renew",
      "",
    ].join("\n"),
  );
});

test("a primary without a standby, a Patroni that is silent, etcd without a majority and an ended certificate are told in capitals", (t) => {
  t.regex(linesOf({ flush: [] }), /a commit is flushed: BY NO STANDBY/);
  t.regex(linesOf({ members: undefined }), /PATRONI DOES NOT ANSWER/);
  t.regex(linesOf({ etcd: false }), /NO MAJORITY/);
  t.regex(linesOf({ paused: true }), /PATRONI IS PAUSED/);
  t.notRegex(linesOf({}), /PAUSED/);
  t.regex(
    linesOf({ certificates: { node: -2 } }),
    /certificate node: ENDED 2 days ago; \.\/twofold certificates renew/,
  );
});
