import { readFileSync } from "node:fs";
import test from "ava";
import fc from "fast-check";
import type { ClusterState } from "../../scripts/host/postgres/wallet/cluster.ts";
import { isStranded, parseAge } from "../../scripts/host/postgres/wallet/stranded.ts";

const session = { pid: 9, client: "192.0.2.10", since: "2026-11-23", application: "lightningd" };
const primary = (sessions: (typeof session)[]): ClusterState => ({
  state: "primary",
  server: "192.0.2.20",
  systemIdentifier: "7711",
  timeline: 3,
  claimed: true,
  version: 42,
  nodeId: null,
  asked: "0/3000060",
  settings: {},
  roleSettings: [],
  standbys: [],
  sessions,
});

test("lightningd is stranded exactly if it has run for two minutes and a primary that answers has no session of it", (t) => {
  const cluster = fc.constantFrom<ClusterState>({ state: "unreachable", why: "no" }, primary([]), primary([session]));
  const lightningd = fc.option(fc.record({ pid: fc.nat(), ageSeconds: fc.double({ min: 0, max: 1e6, noNaN: true }) }), {
    nil: undefined,
  });
  fc.assert(
    fc.property(cluster, lightningd, (seen, process) => {
      const alone = seen.state === "primary" && seen.sessions.length === 0;
      t.is(isStranded({ cluster: seen, lightningd: process }), alone && (process?.ageSeconds ?? 0) >= 120);
    }),
  );
});

test("the age of a process is read whatever its name is", (t) => {
  const fields = Array.from({ length: 30 }, (_, index) => `${index + 4}`);
  // Field 22 is the start, in hundredths of a second; the third is the state.
  fields[22 - 4] = "5000";
  t.is(parseAge(`7 (a ) (b) S ${fields.join(" ")}`, "170.25 12.0\n"), 120.25);
  t.is(parseAge("", "170.25 12.0"), undefined);
  t.is(parseAge("7 (a) S 1", ""), undefined);
  const own = parseAge(readFileSync("/proc/self/stat", "utf8"), readFileSync("/proc/uptime", "utf8"));
  t.true(own !== undefined && own >= 0 && Math.abs(own - process.uptime()) < 5);
});
