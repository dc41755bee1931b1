import test from "ava";
import { postgresDocument } from "../../components/topology/documents/postgres.ts";
import { firstKeys } from "../../scripts/host/etcd/rebuild.ts";
import { compareEnds, type LogEnd, parseControl, parseLogEnd, startsOf } from "../../scripts/host/postgres/log-end.ts";
import { newestOf, requireLost } from "../../scripts/verbs/etcd.ts";
import { postgresConfig, valid } from "../helpers/topologies.ts";

/** Lines of pg_controldata 17. */
const CONTROL = `pg_control version number:            1700
Database system identifier:           7577395731904567321
Database cluster state:               shut down in recovery
Latest checkpoint location:           0/5000098
Latest checkpoint's REDO location:    0/5000060
Latest checkpoint's TimeLineID:       2
Latest checkpoint's PrevTimeLineID:   2
Minimum recovery ending location:     0/6000110
Min recovery ending loc's timeline:   2
Backup start location:                0/0
`;

const end = (timeline: number, position: string, more: Partial<LogEnd> = {}): LogEnd => ({
  systemIdentifier: "7577395731904567321",
  timeline,
  position,
  unfinished: false,
  ...more,
});

test("pg_controldata is read, and a copy that was never finished is known by it", (t) => {
  t.deepEqual(parseControl(CONTROL), {
    systemIdentifier: "7577395731904567321",
    timeline: 2,
    redo: "0/5000060",
    unfinished: false,
  });
  t.true(
    parseControl(CONTROL.replace("Backup start location:                0/0", "Backup start location:  0/2000028"))
      ?.unfinished,
  );
  t.is(parseControl("pg_controldata: error: could not open file"), undefined);
});

test("the end of a log is that of its last whole record; a recycled file has none", (t) => {
  t.is(parseLogEnd("WAL statistics between 0/5000060 and 0/60001A8:\nType   N\n"), "0/60001A8");
  t.is(parseLogEnd("WAL statistics between 0/5000060 and 0/5000060:\n"), undefined);
  t.is(parseLogEnd(""), undefined);
});

test("a log is read from where recovery begins, and a later history from its first file", (t) => {
  const names = [
    "000000010000000000000004",
    "000000020000000000000005",
    "000000020000000000000006",
    "00000003000000010000000A",
    "00000003000000010000000B",
    "00000003.history",
    "archive_status",
  ];
  const control = { systemIdentifier: "1", timeline: 2, redo: "0/5000060", unfinished: false };
  t.deepEqual(startsOf(names, control), [
    { timeline: 3, start: "1/A000000" },
    { timeline: 2, start: "0/5000060" },
  ]);
});

test("a later history goes before a longer log, and positions are numbers and not words", (t) => {
  t.true(compareEnds(end(2, "0/1"), end(1, "F/FFFFFFFF")) > 0);
  t.true(compareEnds(end(2, "0/A000000"), end(2, "0/9FFFFFF")) > 0);
  t.true(compareEnds(end(2, "10/0"), end(2, "F/FFFFFFFF")) > 0);
  t.is(compareEnds(end(2, "0/A0"), end(2, "0/a0")), 0);
});

test("the member whose log goes farthest is chosen, never one whose copy was not finished", (t) => {
  const told = (host: string, value: LogEnd | null) => ({ host, value: { end: value } });
  t.like(
    newestOf([
      told("pg1", end(1, "0/9000000")),
      told("pg2", end(2, "0/5000000")),
      told("pg3", end(2, "0/8000000", { unfinished: true })),
      told("pg4", null),
    ]),
    { host: "pg2" },
  );
  t.throws(() => newestOf([told("pg1", null), told("pg2", end(1, "0/1", { unfinished: true }))]), {
    message: /ETCD-REBUILD-DATA.*pg1: no data; pg2: .*never finished/s,
  });
  t.throws(() => newestOf([told("pg1", end(1, "0/1")), told("pg2", end(1, "0/2", { systemIdentifier: "7" }))]), {
    message: /ETCD-REBUILD-DATA.*not of one cluster/s,
  });
});

test("refuses to put a new store in the place of one that has a majority, unless it is going on with one", (t) => {
  const looks = (rebuilding: boolean) => [
    { host: "pg1", value: { majority: true, rebuilding: false } },
    { host: "pg2", value: { majority: false, rebuilding } },
  ];
  t.throws(() => requireLost(looks(false)), { message: /ETCD-HAS-MAJORITY.*pg1/s });
  t.notThrows(() => requireLost(looks(true)));
  t.notThrows(() => requireLost([{ host: "pg1", value: { majority: false, rebuilding: false } }]));
});

test("in the new store the newest member alone may be the primary, and writes wait for a standby from the first on", (t) => {
  const document = postgresDocument(valid(postgresConfig()), "vault");
  if (document === undefined) throw new Error("vault is no member");
  const keys = new Map(firstKeys("vault", "7577395731904567321", document));
  t.is(keys.get("/twofold/alice/initialize"), "7577395731904567321");
  t.deepEqual(JSON.parse(keys.get("/twofold/alice/sync") ?? ""), { leader: "vault", quorum: 0, sync_standby: null });
  t.like(JSON.parse(keys.get("/twofold/alice/config") ?? ""), {
    synchronous_mode: true,
    synchronous_mode_strict: true,
  });
});
