import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { linkSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { wasCleanStop } from "../../scripts/host/commands/witness-record.ts";
import { EXIT, LIGHTNINGD, type LightningdDocument } from "../../scripts/host/contract.ts";
import { nextStart } from "../../scripts/host/gate/back-off.ts";
import { decide } from "../../scripts/host/gate/decide.ts";
import { otherUsers, parseLocks } from "../../scripts/host/gate/processes.ts";
import { deriveNodeId, secretKind } from "../../scripts/host/gate/secret.ts";
import { changedMeanwhile, waitAndDecide } from "../../scripts/host/gate/start.ts";
import { nothingExists } from "../../scripts/host/init/init.ts";
import { placesOf } from "../../scripts/host/init/survey.ts";
import type { Primary } from "../../scripts/host/postgres/wallet/cluster.ts";
import { lightningdConfFiles } from "../../templates/lightningd-conf.ts";
import { loadTemplate } from "../../templates/load.ts";
import { NODE_ID, NOW, observed, unreachable, wallet } from "../fixtures/gate/observed.ts";
import { lightningdDocument } from "../fixtures/lightningd/document.ts";

const PRIMARY: Primary & { unseen: string[] } = {
  state: "primary",
  server: "192.0.2.20",
  unseen: [],
  systemIdentifier: "7711",
  timeline: 3,
  claimed: true,
  version: 100,
  latest: 100,
  nodeId: NODE_ID,
  asked: "0/3000060",
  settings: { fsync: "on", full_page_writes: "on", synchronous_standby_names: "eve" },
  roleSettings: ["synchronous_commit=on"],
  standbys: [{ name: "eve", sync: true, flushed: true, lagMs: 1 }],
  sessions: [],
};
const TIMING = { waitMs: 40, mountMs: 0, pollMs: 5 };

test("the gate waits for what is transient and starts when it is there", async (t) => {
  const seen = [observed({ replica: unreachable }), observed({ replica: unreachable }), observed()];
  const said: string[] = [];
  const outcome = await waitAndDecide(
    async () => seen.shift() ?? (t.fail("asked once too often") as never),
    (line) => said.push(line),
    async () => {},
    { ...TIMING, waitMs: 60_000 },
  );
  t.deepEqual(outcome, { config: LIGHTNINGD.config });
  t.is(said.filter((line) => line.startsWith("gate: waiting (REPLICA_UNREACHABLE)")).length, 1);
});

test("the gate gives up waiting with a status on which systemd starts it again", async (t) => {
  const outcome = await waitAndDecide(
    async () => observed({ replica: unreachable }),
    () => {},
    async () => {},
    TIMING,
  );
  t.deepEqual(outcome, { status: EXIT.temporary });
});

test("the gate does not wait in place for a mount that its own namespace would hide", async (t) => {
  let asked = 0;
  const outcome = await waitAndDecide(
    async () => {
      asked++;
      return observed({ unmounted: ["/srv/lightning"] });
    },
    () => {},
    async () => {},
    { ...TIMING, waitMs: 60_000 },
  );
  t.deepEqual(outcome, { status: EXIT.temporary });
  t.is(asked, 1);
});

test("refuses with a status on which systemd does not start it again", async (t) => {
  const outcome = await waitAndDecide(
    async () => observed({ replica: wallet(101) }),
    () => {},
    async () => {},
    TIMING,
  );
  t.deepEqual(outcome, { status: EXIT.gateRefused });
});

test("lightningd starts with the config of the document that was checked, not with one that came while the gate waited", async (t) => {
  const document = lightningdDocument();
  const [conf] = lightningdConfFiles(document);
  const config = conf?.path ?? "";
  const meanwhile = (now: LightningdDocument, text = conf?.content ?? "") =>
    changedMeanwhile(document, config, { document: async () => now, config: async () => text });
  t.is(await meanwhile(document), undefined);
  t.is(await meanwhile(document, `${conf?.content}# of no matter\nalias=x\n`), undefined);
  t.regex((await meanwhile({ ...document, node: "bob" })) ?? "", /was replaced since this gate read it/);
  const other = conf?.content.replace(/^wallet=.*$/m, "wallet=sqlite3:///srv/elsewhere/lightningd.sqlite3");
  t.regex((await meanwhile(document, other)) ?? "", /names another wallet than the one that was checked/);
});

test("refuses what could have been transient once it has lasted too long", async (t) => {
  const cluster = {
    cluster: { ...PRIMARY, timeline: 2 },
    required: 1,
    systemIdentifier: undefined,
    timeline: 3,
  };
  const said: string[] = [];
  const recorded: string[] = [];
  t.is(decide(observed({ cluster })).verdict, "wait");
  let now = 0;
  const outcome = await waitAndDecide(
    async () => observed({ cluster }),
    (line) => said.push(line),
    async ({ verdict }) => void recorded.push(verdict),
    { ...TIMING, waitMs: 600_000 },
    () => {
      now += 4000;
      return now;
    },
  );
  t.deepEqual(outcome, { status: EXIT.gateRefused });
  t.deepEqual(recorded, ["wait", "refuse"]);
  t.true(said.some((line) => line.startsWith("gate: REFUSED (PG_OLD_TIMELINE)")));
});

test("a lightningd that ends at once again and again is started ever more slowly, and one that has lived is started at once", (t) => {
  let last: { at: number; short: number } | undefined;
  let now = 1000;
  const pauses: number[] = [];
  for (let start = 0; start < 14; start++) {
    const { short, pauseSeconds } = nextStart(last, now);
    pauses.push(pauseSeconds);
    now += pauseSeconds;
    last = { at: now, short };
    now += 1;
  }
  t.deepEqual(pauses, [0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
  t.deepEqual(nextStart(last, now + 20), { short: 0, pauseSeconds: 0 });
  // The file outlives a boot where /run does.
  t.deepEqual(nextStart({ at: 5000, short: 9 }, 10), { short: 0, pauseSeconds: 0 });
});

test("start-lightningd hands on the gate's answer line by line, whatever is in it", (t) => {
  const directory = mkdtempSync(join(tmpdir(), "twofold-start-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const program = (name: string, body: string) => {
    writeFileSync(join(directory, name), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    return join(directory, name);
  };
  const gate = (answer: string, status: number) => program("gate", `cat <<'END'\n${answer}\nEND\nexit ${status}`);
  program("lightningd", `for word; do printf '<%s>' "$word"; done`);
  const start = (answer: string, status = 0) => {
    const text = loadTemplate("start-lightningd.sh")
      .replace("/var/lib/twofold/node/start.lock", join(directory, "lightningd"))
      .replace("/usr/bin/node /usr/local/lib/twofold/current gate --start", gate(answer, status))
      .replace("/opt/twofold/bin", directory);
    return spawnSync("/bin/sh", ["-c", text], { encoding: "utf8" });
  };
  const dsn = "--wallet=postgres://a@192.0.2.20:5432/a?x=$(id)&y=%2F*'`\"\\";
  t.is(start(`/etc/a b.conf\n${dsn}`).stdout, `<--conf=/etc/a b.conf><${dsn}>`);
  t.is(start("/etc/c.conf").stdout, "<--conf=/etc/c.conf>");
  t.like(start("/etc/c.conf", 78), { status: 78, stdout: "" });
});

test("degraded mode starts with the config that has no replica", async (t) => {
  const degraded = {
    subject: "replica" as const,
    reason: "vault is dead",
    since: NOW,
    until: "2026-11-24T00:00:00.000Z",
  };
  const seen = observed({ replica: unreachable, degraded });
  t.is(decide(seen).code, "DEGRADED");
  t.deepEqual(
    await waitAndDecide(
      async () => seen,
      () => {},
      async () => {},
      TIMING,
    ),
    { config: LIGHTNINGD.degradedConfig },
  );
});

test("the forms of hsm_secret are told apart by length and by the hash in front of a mnemonic", (t) => {
  t.is(secretKind(Buffer.alloc(31)), "invalid");
  t.is(secretKind(Buffer.alloc(32)), "plain");
  t.is(secretKind(Buffer.alloc(73)), "encrypted");
  t.is(secretKind(Buffer.concat([Buffer.alloc(32), Buffer.from("abandon ability able")])), "mnemonic");
  t.is(
    secretKind(Buffer.concat([Buffer.alloc(32, 1), Buffer.from("abandon ability able")])),
    "mnemonic-with-passphrase",
  );
});

test("an hsm_secret is invalid only if lightning-hsmtool says so, not if it could not be run to its end", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "twofold-secret-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const tool = (name: string, body: string) => {
    const path = join(directory, name);
    writeFileSync(path, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    return path;
  };
  const base = { state: "present", path: join(directory, "hsm_secret"), mode: "0400", owner: "bitcoin" } as const;
  const asked = (path: string, timeoutMs?: number) => deriveNodeId(base, "plain", path, timeoutMs);
  t.like(await asked(tool("right", `echo ${NODE_ID}`)), { state: "present", kind: "plain", nodeId: NODE_ID });
  t.like(await asked(tool("refuses", "echo 'bad secret' >&2; exit 1")), { state: "present", kind: "invalid" });
  t.like(await asked(tool("hangs", "exec tail -f /dev/null"), 50), { state: "unreachable" });
  t.like(await asked(join(directory, "none")), { state: "unreachable" });
});

test("locks are read with process and inode; one that is only waited for is none", (t) => {
  const text = `1: POSIX  ADVISORY  WRITE 679 00:2f:261 0 EOF
2: FLOCK  ADVISORY  WRITE 640 08:01:4242 0 EOF
2: -> FLOCK  ADVISORY  WRITE 641 08:01:4242 0 EOF
3: OFDLCK ADVISORY  READ -1 00:2f:999 0 0
`;
  t.deepEqual(parseLocks(text), [
    { pid: 679, inode: "261" },
    { pid: 640, inode: "4242" },
    { pid: -1, inode: "999" },
  ]);
});

test("a stop is clean only if lightningd ended by itself: SIGTERM is a success to systemd, and a kill to the wallet", (t) => {
  t.true(wasCleanStop({ SERVICE_RESULT: "success", EXIT_CODE: "exited", EXIT_STATUS: "0" }));
  t.false(wasCleanStop({ SERVICE_RESULT: "success", EXIT_CODE: "killed", EXIT_STATUS: "TERM" }));
  t.false(wasCleanStop({ SERVICE_RESULT: "signal", EXIT_CODE: "killed", EXIT_STATUS: "KILL" }));
  t.false(wasCleanStop({ SERVICE_RESULT: "exit-code", EXIT_CODE: "exited", EXIT_STATUS: "78" }));
  t.false(wasCleanStop({}));
});

const peer = {
  address: "vault",
  port: 22,
  user: "x",
  hostKey: "ssh-ed25519 AAAA",
  identityFile: "/etc/twofold/keys/witness",
};
const document: LightningdDocument = {
  stage: "lightningd",
  host: "alice",
  node: "alice",
  network: "bitcoin",
  install: { kind: "preinstalled", path: "/usr/bin/lightningd" },
  directory: "/srv/lightning/lightning",
  options: {},
  wallet: {
    kind: "sqlite",
    main: "/srv/lightning/lightning/bitcoin/lightningd.sqlite3",
    journalMode: "wal",
    replica: { path: "/srv/second/lightningd.sqlite3", peek: { kind: "local" } },
  },
  user: "bitcoin",
  group: "bitcoin",
  mounts: ["/srv/lightning"],
  witnesses: [],
  peers: [{ host: "vault", ...peer }],
};

test("a first start is permitted when every declared host says that it has nothing of the node", (t) => {
  const empty = (host: string) => ({ host, found: [], permission: false });
  t.notThrows(() => nothingExists(document, [empty("alice"), empty("vault")]));
});

test("refuses a first start while a declared host is silent", (t) => {
  const error = t.throws(() => nothingExists(document, [{ host: "alice", found: [], permission: false }]));
  t.regex(error.message, /INIT-HOST-SILENT.*none of vault/s);
});

test("refuses a first start where any host has anything of the node, and says what and where", (t) => {
  const error = t.throws(() =>
    nothingExists(document, [
      { host: "alice", found: [], permission: false },
      { host: "vault", found: [{ what: "replica", path: "/srv/alice/lightningd.sqlite3" }], permission: false },
    ]),
  );
  t.regex(error.message, /INIT-NODE-EXISTS/);
  t.regex(error.message, /vault: replica at \/srv\/alice\/lightningd\.sqlite3/);
});

test("a survey looks for main, hsm_secret and a replica of this node, and for no other node's", (t) => {
  t.deepEqual(
    placesOf(document, "alice").map(({ path }) => path),
    [
      "/srv/lightning/lightning/bitcoin/lightningd.sqlite3",
      "/srv/lightning/lightning/bitcoin/hsm_secret",
      "/srv/second/lightningd.sqlite3",
    ],
  );
  t.deepEqual(placesOf(document, "bob"), []);
  const keeper = {
    stage: "witness" as const,
    host: "vault",
    directory: "/w",
    writers: [{ node: "alice", account: "a", replica: "/srv/alice/wallet/lightningd.sqlite3" }],
  };
  t.deepEqual(
    placesOf(keeper, "alice").map(({ path }) => path),
    ["/srv/alice/wallet/lightningd.sqlite3"],
  );
});

test("a process that has the wallet open in a directory of another name is seen, and one with another file of its name is not", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "twofold-users-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const [database, inContainer, other] = ["own", "container", "other"].map((place) => {
    mkdirSync(join(directory, place));
    return join(directory, place, "lightningd.sqlite3");
  }) as [string, string, string];
  for (const file of [database, other]) writeFileSync(file, "x");
  linkSync(database, inContainer);
  const open = async (file: string) => {
    const child = spawn("sleep", ["600"], { stdio: [openSync(file, "r"), "ignore", "ignore"] });
    t.teardown(() => child.kill());
    await once(child, "spawn");
    return child.pid;
  };
  const user = await open(inContainer);
  await open(other);
  // This process has them open too, and passes itself over.
  t.deepEqual(await otherUsers(join(directory, "own/lightningd-regtest.pid"), [database]), [
    { pid: user, what: `has ${database} open` },
  ]);
});
