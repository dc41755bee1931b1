import { createHash, randomBytes } from "node:crypto";
import test from "ava";
import fc from "fast-check";
import { etcdDocument } from "../../components/topology/documents/etcd.ts";
import { checkSum, parseSnapshots, superfluous } from "../../scripts/host/etcd/snapshot.ts";
import { planSnapshots, snapshotItems, snapshotPaths } from "../../scripts/host/etcd/snapshot-plan.ts";
import type { Entry } from "../../scripts/host/read.ts";
import { renderEtcdDefault } from "../../templates/etcd.ts";
import { SNAPSHOT_DIRECTORY } from "../../templates/etcd-snapshot.ts";
import { postgresConfig, valid } from "../helpers/topologies.ts";

const document = (() => {
  const found = etcdDocument(valid(postgresConfig()), "eve");
  if (found === undefined) throw new Error("eve has no member of etcd");
  return found;
})();

test("a cluster's own snapshots are found by their names, oldest first, and nothing else is", (t) => {
  const names = [
    "alice-20261123T090000Z.db",
    "alice-20261123T080500Z.db",
    "alice-20261123T100000Z.db.new",
    "alice-b-20261123T100000Z.db",
    "lost+found",
  ];
  t.deepEqual(parseSnapshots("alice", names), [
    { file: "alice-20261123T080500Z.db", at: new Date("2026-11-23T08:05:00Z") },
    { file: "alice-20261123T090000Z.db", at: new Date("2026-11-23T09:00:00Z") },
  ]);
});

test("the newest are kept, however many there are", (t) => {
  fc.assert(
    fc.property(fc.nat(40), fc.integer({ min: 1, max: 20 }), (count, kept) => {
      const all = Array.from({ length: count }, (_, hour) => ({ file: `${hour}`, at: new Date(hour * 3_600_000) }));
      const removed = superfluous(all, kept);
      t.is(all.length - removed.length, Math.min(count, kept));
      t.deepEqual(removed, all.slice(0, removed.length));
    }),
  );
});

test("a snapshot is whole if its last 32 bytes are the SHA-256 of the others; any flipped bit, and any lost byte, is found", (t) => {
  const content = randomBytes(2048);
  const whole = Buffer.concat([content, createHash("sha256").update(content).digest()]);
  t.notThrows(() => checkSum(whole));
  fc.assert(
    fc.property(fc.nat(whole.length * 8 - 1), (bit) => {
      const spoilt = Buffer.from(whole);
      spoilt[bit >> 3] = (spoilt[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      t.throws(() => checkSum(spoilt), { message: /its SHA-256 is/ });
    }),
  );
  t.throws(() => checkSum(whole.subarray(0, -1)), { message: /has 2079 bytes, and so no sum/ });
});

test("a host gets a directory of etcd's own, a service and a timer, and a second pass changes nothing", (t) => {
  const entries = new Map<string, Entry | undefined>(snapshotPaths(document).map((path) => [path, undefined]));
  const actions = planSnapshots(entries, document);
  for (const action of actions) {
    if (action.kind === "make-directory") entries.set(action.path, { kind: "directory", ...action.ownership });
    if (action.kind === "write-file")
      entries.set(action.path, { kind: "file", content: action.content, ...action.ownership });
  }
  t.like(entries.get(SNAPSHOT_DIRECTORY), { owner: "etcd", mode: "0700" });
  t.deepEqual(planSnapshots(entries, document), []);
  const written = new Set(actions.map(({ item }) => item));
  for (const item of snapshotItems(document)) if (!item.startsWith("unit:")) t.true(written.has(item), item);
});

test("the store throws its history away and stops at a quota", (t) => {
  const settings = renderEtcdDefault(document, "new");
  t.regex(settings, /^ETCD_AUTO_COMPACTION_MODE=periodic$/m);
  t.regex(settings, /^ETCD_AUTO_COMPACTION_RETENTION=1h$/m);
  t.regex(settings, /^ETCD_QUOTA_BACKEND_BYTES=268435456$/m);
});
