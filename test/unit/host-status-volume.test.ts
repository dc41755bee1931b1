import { readFileSync } from "node:fs";
import test from "ava";
import { parseInfo } from "../../scripts/host/status/node.ts";
import {
  joinErrors,
  parseDeviceStats,
  parseDevices,
  parseProfiles,
  parseScrub,
} from "../../scripts/host/status/volume.ts";

/** Real output of btrfs-progs 6.14 on a RAID-1 of two devices: healthy, one overwritten with noise, one missing. */
const fixture = (name: string) => readFileSync(new URL(`../fixtures/status/${name}.txt`, import.meta.url), "utf8");

const none = { write: 0, read: 0, flush: 0, corruption: 0, generation: 0 };

test("a healthy volume shows both devices without errors, one profile and its scrub", (t) => {
  t.deepEqual(joinErrors(parseDevices(fixture("healthy-show")), parseDeviceStats(fixture("healthy-stats"))), [
    { id: 1, path: "/dev/loop7", bytes: 2 ** 30, errors: none },
    { id: 2, path: "/dev/loop8", bytes: 2 ** 30, errors: none },
  ]);
  t.deepEqual(parseProfiles(fixture("healthy-df")), ["raid1"]);
  t.deepEqual(parseScrub(fixture("healthy-scrub")), {
    started: "2026-11-23T04:53:18.000Z",
    state: "finished",
    errors: "no errors found",
    uncorrectable: 0,
  });
});

test("errors are counted on the device that has them", (t) => {
  const stats = parseDeviceStats(fixture("corrupt-stats"));
  t.deepEqual(stats.get("/dev/loop7"), none);
  t.deepEqual(stats.get("/dev/loop8"), { ...none, corruption: 1280 });
  t.deepEqual(parseScrub(fixture("corrupt-scrub")), {
    started: "2026-11-23T04:53:19.000Z",
    state: "finished",
    errors: "csum=1280",
    uncorrectable: 0,
  });
});

test("a missing device keeps its number and its errors, and the single chunks written without it show", (t) => {
  t.deepEqual(joinErrors(parseDevices(fixture("missing-show")), parseDeviceStats(fixture("missing-stats"))), [
    { id: 1, path: "/dev/loop7", bytes: 2 ** 30, errors: none },
    { id: 2, path: undefined, bytes: 0, errors: { ...none, corruption: 1280 } },
  ]);
  t.deepEqual(parseProfiles(fixture("missing-df")), ["raid1", "single"]);
});

test("a volume that was never scrubbed has no scrub", (t) => {
  t.is(parseScrub(fixture("never-scrub")), undefined);
});

test("nothing is read from nothing", (t) => {
  t.deepEqual(parseDevices(""), []);
  t.is(parseDeviceStats("").size, 0);
  t.deepEqual(parseProfiles(""), []);
  t.is(parseScrub(""), undefined);
});

test("getinfo is taken if it has an id, and is no info otherwise", (t) => {
  const id = `02${"ab".repeat(32)}`;
  t.deepEqual(parseInfo(JSON.stringify({ id, alias: "alice", version: "v26.06.6", blockheight: 7, num_peers: 2 })), {
    id,
    alias: "alice",
    version: "v26.06.6",
    blockheight: 7,
    peers: 2,
    activeChannels: 0,
  });
  t.is(parseInfo('{"code":-1,"message":"x"}'), undefined);
  t.is(parseInfo("lightning-cli: Connecting to 'lightning-rpc': No such file"), undefined);
});
