import { readFileSync } from "node:fs";
import test from "ava";
import fc from "fast-check";
import { etcdDocument } from "../../components/topology/documents/etcd.ts";
import { postgresDocument } from "../../components/topology/documents/postgres.ts";
import type { Condition } from "../../scripts/host/alerts/alert.ts";
import {
  type EtcdSeen,
  judgeEtcd,
  parseEndpointHealth,
  parseEndpointStatus,
  parseMetric,
} from "../../scripts/host/alerts/looks/etcd.ts";
import { judgeDegraded, judgeNode, type NodeFacts } from "../../scripts/host/alerts/looks/node.ts";
import {
  judgePostgres,
  mergeCancelled,
  type PostgresSeen,
  type PrimaryFacts,
  parseCancelled,
} from "../../scripts/host/alerts/looks/postgres.ts";
import { judgeReplica } from "../../scripts/host/alerts/looks/replica.ts";
import { judgeRoom, judgeVolume, parseRoom } from "../../scripts/host/alerts/looks/volumes.ts";
import { carryOut } from "../../scripts/host/alerts/watch.ts";
import { joinErrors, parseDeviceStats, parseDevices, type VolumeStatus } from "../../scripts/host/status/volume.ts";
import { RUNNING as unit } from "../fixtures/units.ts";
import { postgresConfig, valid } from "../helpers/topologies.ts";

const codes = (conditions: Condition[]) => conditions.map(({ code }) => code);
const fixture = (name: string) => readFileSync(new URL(`../fixtures/status/${name}.txt`, import.meta.url), "utf8");
const NOW = new Date("2026-11-23T12:00:00.000Z");
const after = (minutes: number) => new Date(NOW.getTime() + minutes * 60_000);

// Volumes

const volume: VolumeStatus = {
  name: "lightning",
  mount: "/srv/lightning",
  mounted: true,
  profile: "raid1",
  profiles: ["raid1"],
  devices: joinErrors(parseDevices(fixture("healthy-show")), parseDeviceStats(fixture("healthy-stats"))),
  scrub: { started: "2026-11-22T00:00:00.000Z", state: "finished", errors: "no errors found", uncorrectable: 0 },
  bytesFree: 2 ** 29,
};

test("a healthy volume is no alert", (t) => {
  t.true(volume.devices.length === 2);
  t.deepEqual(judgeVolume(volume), []);
  t.deepEqual(judgeVolume({ ...volume, profile: "single", profiles: ["dup", "single"] }), []);
});

test("errors of a device are told with their counts, and a device that is gone by its number", (t) => {
  const corrupt = joinErrors(parseDevices(fixture("healthy-show")), parseDeviceStats(fixture("corrupt-stats")));
  const [errors] = judgeVolume({ ...volume, devices: corrupt });
  t.is(errors?.code, "DEVICE_ERRORS");
  t.regex(errors?.value ?? "", /\/dev\/\w+ has errors: \d+ corruption/);
  const missing = joinErrors(parseDevices(fixture("missing-show")), parseDeviceStats(fixture("missing-stats")));
  const gone = judgeVolume({ ...volume, devices: missing }).find(({ code }) => code === "DEVICE_MISSING");
  t.regex(gone?.subject ?? "", /^device \d of volume lightning at \/srv\/lightning$/);
});

test("a volume that is not mounted is one alert, whatever its devices had", (t) => {
  const conditions = judgeVolume({ ...volume, mounted: false, problem: "nothing is mounted there" });
  t.deepEqual(codes(conditions), ["VOLUME_NOT_MOUNTED"]);
  t.is(conditions[0]?.value, "nothing is mounted there");
});

test("blocks that no copy could correct, and blocks of another profile, are told", (t) => {
  const scrub = { started: "2026-11-22T00:00:00.000Z", state: "finished", errors: "csum=7", uncorrectable: 5 };
  t.deepEqual(codes(judgeVolume({ ...volume, scrub, profiles: ["raid1", "single"] })), [
    "SCRUB_UNCORRECTABLE",
    "VOLUME_PROFILE",
  ]);
});

test("what a scrub had to mend is told, though the devices count nothing, and a scrub without errors is not", (t) => {
  const judged = (errors: string) =>
    judgeVolume({
      ...volume,
      scrub: { started: "2026-11-22T00:00:00.000Z", state: "finished", errors, uncorrectable: 0 },
    });
  t.deepEqual(codes(judged("verify=4")), ["SCRUB_MENDED"]);
  t.is(judged("verify=4")[0]?.value, "the scrub of 2026-11-22T00:00:00.000Z found verify=4");
  t.deepEqual(judged("no errors found"), []);
});

test("a filesystem is nearly full below the declared share, and not at it", (t) => {
  const room = (bytesFree: number) => ({ path: "/srv", bytesFree, bytesTotal: 2 ** 30 });
  fc.assert(
    fc.property(fc.nat(2 ** 30), fc.integer({ min: 0, max: 100 }), (free, percent) => {
      t.is(judgeRoom(room(free), percent).length, free * 100 < percent * 2 ** 30 ? 1 : 0);
    }),
  );
  t.is(judgeRoom(room(2 ** 20), 10)[0]?.value, "0.1 % of 1.0 GiB are free, fewer than 10 %");
});

test("df's lines are read, also of a mount with a space in its name", (t) => {
  const text = "Mounted on        Avail      1B-blocks\n/                  10       100\n/srv/a b   5    50\n";
  t.deepEqual(parseRoom(text), [
    { path: "/", bytesFree: 10, bytesTotal: 100 },
    { path: "/srv/a b", bytesFree: 5, bytesTotal: 50 },
  ]);
});

// Replica

const replica = {
  directory: "/var/lib/twofold-replica/alice",
  remote: { host: "vault" } as never,
};
const mount = { target: replica.directory, type: "fuse.sshfs", source: "vault:/wallet", options: [] };

test("a replica's mount is right only with its unit", (t) => {
  t.deepEqual(judgeReplica(replica, mount, unit), []);
  t.deepEqual(codes(judgeReplica(replica, undefined, { ...unit, active: "activating", sub: "auto-restart" })), [
    "REPLICA_NOT_MOUNTED",
  ]);
  t.deepEqual(codes(judgeReplica(replica, mount, { ...unit, active: "failed", sub: "failed" })), [
    "REPLICA_NOT_MOUNTED",
  ]);
  t.deepEqual(
    judgeReplica({ directory: "/srv/replica/alice" }, undefined, undefined),
    [],
    "a local one has no mount of its own",
  );
});

// Node

const node: NodeFacts = {
  node: "alice",
  initialised: true,
  unit: { active: "active", sub: "running", lastStatus: 0 },
  answers: true,
  gate: undefined,
};
const refused = { verdict: "refuse", code: "REPLICA_NEWER", what: "w", consequence: "c", fix: "f" } as const;
const waiting = { verdict: "wait", code: "PG_NO_STANDBY", what: "w", consequence: "c", fix: "f" } as const;

const NODE: [string, Partial<NodeFacts>, string[], RegExp][] = [
  ["answers", {}, [], /^$/],
  [
    "was never started",
    { initialised: false, answers: false, unit: { active: "inactive", sub: "dead", lastStatus: 0 } },
    [],
    /^$/,
  ],
  [
    "was refused by its gate",
    { answers: false, unit: { active: "failed", sub: "failed", lastStatus: 78 }, gate: refused },
    ["NODE_FAILED"],
    /REPLICA_NEWER: w/,
  ],
  [
    "ended for good by itself",
    { answers: false, unit: { active: "failed", sub: "failed", lastStatus: 30 }, gate: refused },
    ["NODE_FAILED"],
    /the wallet belongs to another node/,
  ],
  ["waits in its gate", { answers: false, gate: waiting }, ["NODE_WAITING"], /PG_NO_STANDBY: w/],
  ["is silent", { answers: false }, ["NODE_WAITING"], /does not answer/],
  [
    "is between two tries",
    { answers: false, unit: { active: "activating", sub: "auto-restart", lastStatus: 1 } },
    ["NODE_WAITING"],
    /auto-restart/,
  ],
  [
    "was stopped",
    { answers: false, unit: { active: "inactive", sub: "dead", lastStatus: 0 } },
    ["NODE_STOPPED"],
    /inactive/,
  ],
];
for (const [title, facts, expected, value] of NODE)
  test(`a node that ${title} is told as ${expected[0] ?? "nothing"}`, (t) => {
    const conditions = judgeNode({ ...node, ...facts });
    t.deepEqual(codes(conditions), expected);
    t.regex(conditions[0]?.value ?? "", value);
  });

test("degraded mode is told while it lasts, its end before it comes, and louder after it", (t) => {
  const degraded = (minutes: number) => ({
    subject: "replica" as const,
    reason: "vault is dead",
    since: NOW.toISOString(),
    until: after(minutes).toISOString(),
  });
  t.deepEqual(judgeDegraded(undefined, NOW), []);
  t.deepEqual(codes(judgeDegraded(degraded(1440), after(0))), ["DEGRADED"]);
  t.deepEqual(codes(judgeDegraded(degraded(1440), after(1440 - 145))), ["DEGRADED"]);
  t.deepEqual(codes(judgeDegraded(degraded(1440), after(1440 - 143))), ["DEGRADED", "DEGRADED_ENDS"]);
  t.deepEqual(
    codes(judgeDegraded(degraded(5 * 60), after(4 * 60 + 1))),
    ["DEGRADED", "DEGRADED_ENDS"],
    "an hour at least",
  );
  t.deepEqual(codes(judgeDegraded(degraded(10), after(5))), ["DEGRADED"], "but not all of a short time");
  t.deepEqual(codes(judgeDegraded(degraded(10), after(10))), ["DEGRADED_OVER"]);
  t.regex(judgeDegraded(degraded(10), after(5))[0]?.value ?? "", /vault is dead/);
});

// etcd

const etcd = etcdDocument(valid(postgresConfig()), "alice");
const urls = { alice: "https://192.0.2.10:2379", vault: "https://192.0.2.20:2379", eve: "https://192.0.2.30:2379" };
const healthOf = (...healthy: (keyof typeof urls)[]) =>
  Object.entries(urls).map(([name, endpoint]) => ({ endpoint, health: healthy.includes(name as keyof typeof urls) }));
const store: EtcdSeen = {
  unit: "active, running",
  own: { hasLeader: true, errors: [], dbSize: 20_480 },
  health: healthOf("alice", "vault", "eve"),
  quota: 268_435_456,
  newestSnapshot: { file: "x", at: after(-60) },
};
const ETCD: [string, Partial<EtcdSeen>, string[]][] = [
  ["is healthy", {}, []],
  ["does not answer", { own: undefined, unit: "failed, failed", health: healthOf() }, ["ETCD_DOWN"]],
  [
    "has no leader",
    { own: { hasLeader: false, errors: ["etcdserver: no leader"], dbSize: 1 }, health: healthOf() },
    ["ETCD_NO_QUORUM"],
  ],
  ["has a leader and no majority", { health: healthOf("vault", "eve") }, ["ETCD_NO_QUORUM"]],
  ["misses one of the others", { health: healthOf("alice", "eve") }, ["ETCD_MEMBER_DOWN"]],
  ["got no word of the others", { health: healthOf("alice").slice(0, 1) }, ["ETCD_MEMBER_DOWN", "ETCD_MEMBER_DOWN"]],
  [
    "is out of room",
    { own: { hasLeader: true, errors: ["memberID:1 alarm:NOSPACE "], dbSize: 268_435_456 }, health: healthOf() },
    ["ETCD_ALARM", "ETCD_NEARLY_FULL"],
  ],
  ["is nearly full", { own: { hasLeader: true, errors: [], dbSize: 201_326_592 } }, ["ETCD_NEARLY_FULL"]],
  ["says no quota", { quota: undefined }, []],
  ["has an old snapshot", { newestSnapshot: { file: "x", at: after(-181) } }, ["ETCD_SNAPSHOT_OLD"]],
  ["has no snapshot", { newestSnapshot: undefined }, ["ETCD_SNAPSHOT_OLD"]],
];
for (const [title, seen, expected] of ETCD)
  test(`a member of etcd that ${title} is told as ${expected.join(" and ") || "nothing"}`, (t) => {
    if (etcd === undefined) return t.fail("alice has no member");
    t.deepEqual(codes(judgeEtcd(etcd, { ...store, ...seen }, NOW)), expected);
  });

test("what etcdctl and etcd's metrics say is read, and an answer that is none is none", (t) => {
  t.deepEqual(
    parseEndpointStatus(
      '[{"Endpoint":"https://127.0.0.1:2379","Status":{"header":{"member_id":9372538179322589801},"version":"3.5.16","dbSize":24576,"leader":10501334649042878790,"raftTerm":2}}]',
    ),
    { hasLeader: true, errors: [], dbSize: 24_576 },
  );
  t.like(parseEndpointStatus('[{"Status":{"dbSize":1,"errors":["etcdserver: no leader"]}}]'), { hasLeader: false });
  t.is(parseEndpointStatus(""), undefined);
  t.deepEqual(parseEndpointHealth('[{"endpoint":"a","health":true,"took":"4ms"}]')[0]?.health, true);
  t.deepEqual(parseEndpointHealth("Error: unhealthy cluster"), []);
  const metrics = "# TYPE etcd_server_quota_backend_bytes gauge\netcd_server_quota_backend_bytes 2.68435456e+08\n";
  t.is(parseMetric(metrics, "etcd_server_quota_backend_bytes"), 268_435_456);
  t.is(parseMetric(metrics, "etcd_server_quota"), undefined);
});

// PostgreSQL

const postgres = postgresDocument(valid(postgresConfig()), "alice");
const members = [
  { name: "alice", role: "leader", state: "running" },
  { name: "eve", role: "replica", state: "streaming" },
  { name: "vault", role: "sync_standby", state: "streaming" },
];
const primary: PrimaryFacts = {
  standbys: [
    { name: "eve", sync: false, lagBytes: 0 },
    { name: "vault", sync: true, lagBytes: 0 },
  ],
  slots: [{ name: "eve", active: true, retainedBytes: 0, walStatus: "reserved" }],
  slotLimitBytes: 2 ** 31,
};
const cluster: PostgresSeen = { members, paused: false, otherCertificate: [], primary, cancelled: [] };
const without = (name: string) => members.filter((member) => member.name !== name);
const POSTGRES: [string, Partial<PostgresSeen>, string[], RegExp][] = [
  ["is whole", {}, [], /^$/],
  ["has no Patroni here", { members: undefined, primary: undefined }, ["PG_MEMBER_DOWN"], /Patroni does not answer/],
  ["misses a member", { members: without("eve") }, ["PG_MEMBER_DOWN"], /does not know it/],
  [
    "has a member that does not follow",
    { members: [...without("eve"), { name: "eve", role: "replica", state: "start failed" }] },
    ["PG_MEMBER_DOWN"],
    /start failed/,
  ],
  [
    "has a certificate that was renewed and is not shown",
    { otherCertificate: [8008, 5432] },
    ["CERTIFICATE_NOT_SHOWN"],
    /port 8008 and 5432 shows another one than/,
  ],
  [
    "has no primary",
    { members: [{ name: "alice", role: "replica", state: "streaming" }], primary: undefined },
    ["PG_NO_PRIMARY"],
    /alice is replica/,
  ],
  [
    "has no synchronous standby",
    { primary: { ...primary, standbys: [{ name: "eve", sync: false, lagBytes: 0 }] } },
    ["PG_NO_STANDBY"],
    /0 of 1 synchronous standbys: eve streams and is not synchronous/,
  ],
  ["has no standby", { primary: { ...primary, standbys: [] } }, ["PG_NO_STANDBY"], /no standby streams/],
  [
    "has a standby that is far behind",
    { primary: { ...primary, standbys: [{ name: "vault", sync: true, lagBytes: 16 * 2 ** 20 + 1 }] } },
    ["PG_LAG"],
    /16777217 bytes behind/,
  ],
  [
    "has a standby whose position is not known",
    { primary: { ...primary, standbys: [{ name: "vault", sync: true, lagBytes: null }] } },
    [],
    /^$/,
  ],
  [
    "keeps much log for a slot",
    {
      primary: {
        ...primary,
        slots: [{ name: "eve", active: false, retainedBytes: 2 ** 30 + 1, walStatus: "extended" }],
      },
    },
    ["PG_SLOT_RETAINS"],
    /not in use, extended, keeps 1073741825/,
  ],
  [
    "has lost the log of a slot",
    { primary: { ...primary, slots: [{ name: "eve", active: false, retainedBytes: null, walStatus: "lost" }] } },
    ["PG_SLOT_RETAINS"],
    /lost/,
  ],
  [
    "had cancelled waits",
    { cancelled: [{ at: NOW.toISOString(), message: "DETAIL:  might not have been replicated" }] },
    ["PG_CANCELLED_WAIT"],
    /once within a day, last at 2026-11-23T12:00:00\.000Z: DETAIL/,
  ],
];
for (const [title, seen, expected, value] of POSTGRES)
  test(`a cluster that ${title} is told as ${expected[0] ?? "nothing"}`, (t) => {
    if (postgres === undefined) return t.fail("alice has no member");
    const conditions = judgePostgres(postgres, { ...cluster, ...seen }, 16 * 2 ** 20);
    t.deepEqual(codes(conditions), expected);
    t.regex(conditions[0]?.value ?? "", value);
  });

test("a standby's host tells of its own member alone: the primary's tells of the others", (t) => {
  const vault = postgresDocument(valid(postgresConfig()), "vault");
  if (vault === undefined) return t.fail("vault has no member");
  const seen = { ...cluster, primary: undefined, members: without("eve") };
  t.deepEqual(judgePostgres(vault, seen, 1), []);
  t.deepEqual(codes(judgePostgres(vault, { ...seen, members: without("vault") }, 1)), ["PG_MEMBER_DOWN"]);
});

/** What PostgreSQL 17 says in a line of its own; that it "might not have been replicated" is the next one, its detail. */
const CANCELLED =
  "2026-11-23 12:00:00.000 UTC [812] postgres@postgres WARNING:  canceling wait for synchronous replication due to user request";

test("a pause that somebody has forgotten is told by the primary's host, and by each where there is no primary", (t) => {
  const paused = { ...cluster, paused: true };
  const alice = postgresDocument(valid(postgresConfig()), "alice");
  const vault = postgresDocument(valid(postgresConfig()), "vault");
  if (alice === undefined || vault === undefined) return t.fail("a host has no member");
  t.deepEqual(codes(judgePostgres(alice, paused, 16 * 2 ** 20)), ["PG_PAUSED"]);
  t.deepEqual(judgePostgres(vault, { ...paused, primary: undefined }, 1), []);
  const headless = cluster.members?.map((member) => ({ ...member, role: "replica", state: "streaming" }));
  t.true(codes(judgePostgres(vault, { ...paused, primary: undefined, members: headless }, 1)).includes("PG_PAUSED"));
});

test("a cancelled wait is found once however often its lines are read, and forgotten after a day", (t) => {
  const line = JSON.stringify({
    __REALTIME_TIMESTAMP: `${NOW.getTime()}000`,
    MESSAGE: CANCELLED,
  });
  const found = parseCancelled(`${line}\n`);
  t.deepEqual(found, [{ at: NOW.toISOString(), message: CANCELLED }]);
  t.deepEqual(parseCancelled(""), []);
  t.is(mergeCancelled(found, found, after(1)).length, 1);
  t.is(mergeCancelled(found, [], after(24 * 60 - 1)).length, 1);
  t.is(mergeCancelled(found, [], after(24 * 60)).length, 0);
});

// Looks

test("a look that fails says why, and one that hangs is given up", async (t) => {
  t.deepEqual(await carryOut({ name: "a", run: async () => [] }), { look: "a", conditions: [] });
  const failing = { name: "b", run: () => Promise.reject(new Error("no such file")) };
  t.deepEqual(await carryOut(failing), { look: "b", failed: "no such file" });
  const hanging = { name: "c", run: () => new Promise<never>(() => {}) };
  t.deepEqual(await carryOut(hanging, 20), { look: "c", failed: "no answer within 0.02 s: something hangs" });
});
