import { readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import test from "ava";
import fc from "fast-check";
import type { ClusterState } from "../../scripts/host/postgres/wallet/cluster.ts";
import { isStranded, parsePeers } from "../../scripts/host/postgres/wallet/stranded.ts";

const session = { pid: 9, client: "192.0.2.10", since: "2026-11-23", application: "lightningd" };
const primary = (sessions: (typeof session)[], flushed: boolean): ClusterState => ({
  state: "primary",
  server: "192.0.2.20",
  unseen: [],
  systemIdentifier: "7711",
  timeline: 3,
  claimed: true,
  version: 42,
  latest: 42,
  nodeId: null,
  asked: "0/3000060",
  settings: {},
  roleSettings: [],
  standbys: [{ name: "eve", sync: true, flushed, lagMs: null }],
  sessions,
});

test("lightningd is stranded exactly if it is connected to another member than the one that is primary, has its standbys, and has no session of it", (t) => {
  const cluster = fc.oneof(
    fc.constant<ClusterState>({ state: "unreachable", why: "no" }),
    fc.tuple(fc.boolean(), fc.boolean()).map(([used, flushed]) => primary(used ? [session] : [], flushed)),
  );
  const lightningd = fc.option(fc.nat(), { nil: undefined });
  const connected = fc.subarray(["192.0.2.10", "192.0.2.20", "192.0.2.30"]);
  fc.assert(
    fc.property(cluster, lightningd, connected, (seen, process, peers) => {
      const goesOn = seen.state === "primary" && seen.sessions.length === 0 && seen.standbys[0]?.flushed === true;
      const elsewhere = peers.length > 0 && !peers.includes("192.0.2.20");
      t.is(
        isStranded({ cluster: seen, required: 1, lightningd: process, connected: peers }),
        goesOn && elsewhere && process !== undefined,
      );
    }),
  );
});

test("open connections of a user are read from the kernel's tables, IPv4 and IPv6", (t) => {
  const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
  const line = (peer: string, state: string, uid: number) =>
    `   1: 0A0200C0:9C40 ${peer} ${state} 00000000:00000000 00:00000000 00000000   ${uid}        0 1234 1 0000000000000000 20 4 30 10 -1\n`;
  // 192.0.2.20 port 5432, and the same address as an IPv6 one.
  const text = head + line("140200C0:1538", "01", 109) + line("0000000000000000FFFF0000140200C0:1538", "01", 109);
  t.deepEqual(parsePeers(text, 5432, 109), ["192.0.2.20", "192.0.2.20"]);
  t.deepEqual(parsePeers(head + line("B80D0120000000000000000001000000:1538", "01", 109), 5432, 109), ["2001:db8::1"]);
  t.deepEqual(parsePeers(text, 5433, 109), []);
  t.deepEqual(parsePeers(text, 5432, 110), []);
  t.deepEqual(parsePeers(head + line("140200C0:1538", "02", 109), 5432, 109), []);
});

test("this kernel's own table shows a connection of this process", async (t) => {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  const socket = connect(port, "127.0.0.1");
  await new Promise((resolve) => socket.once("connect", resolve));
  t.true(parsePeers(readFileSync("/proc/self/net/tcp", "utf8"), port, process.getuid?.() ?? 0).includes("127.0.0.1"));
  socket.destroy();
  server.close();
});
