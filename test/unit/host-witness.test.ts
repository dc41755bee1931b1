import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { NODE_STATE, type WitnessDocument } from "../../scripts/host/contract.ts";
import { authorizedKeys, parsePasswd, WITNESS_KEY, type WitnessFacts } from "../../scripts/host/witness/facts.ts";
import { type Mark, mayAdvance, parseMark, sampledVersion } from "../../scripts/host/witness/mark.ts";
import { knownHostsName } from "../../scripts/host/witness/peer.ts";
import { planWitness, witnessItems } from "../../scripts/host/witness/plan.ts";
import { nodeIdOf } from "../../scripts/host/witness/rpc.ts";
import { advanceMark, MarkRefused, readMark, replaceMark } from "../../scripts/host/witness/store.ts";
import { fillTemplate } from "../../templates/load.ts";
import { authorizedWitness, publicKeyOf, witnessUnitFiles } from "../../templates/witness.ts";
import { NODE_ID, OTHER_ID } from "../fixtures/gate/observed.ts";
import { WAITING as unit } from "../fixtures/units.ts";

const markAt = (dataVersion: number, more: Partial<Mark> = {}): Mark => ({
  node: "alice",
  nodeId: NODE_ID,
  dataVersion,
  exact: false,
  at: "2026-11-23T00:00:00.000Z",
  source: "sample",
  ...more,
});

test("a mark never goes down, whatever is asked of it in whatever order", (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat(1000), { minLength: 1 }), (versions) => {
      let current: Mark | undefined;
      for (const version of versions) {
        const next = markAt(version);
        const verdict = mayAdvance(current, next);
        if (verdict.accepted && verdict.changed) current = next;
      }
      return current?.dataVersion === Math.max(...versions);
    }),
  );
  t.pass();
});

test("refuses a mark of another node, with both ids", (t) => {
  const verdict = mayAdvance(markAt(3), markAt(4, { nodeId: OTHER_ID }));
  t.false(verdict.accepted);
  t.true(!verdict.accepted && verdict.why.includes(NODE_ID) && verdict.why.includes(OTHER_ID));
});

test("an equal mark is written only if it is exact and the old one is not", (t) => {
  t.deepEqual(mayAdvance(markAt(3), markAt(3)), { accepted: true, changed: false });
  t.deepEqual(mayAdvance(markAt(3), markAt(3, { exact: true })), { accepted: true, changed: true });
  t.deepEqual(mayAdvance(markAt(3, { exact: true }), markAt(3)), { accepted: true, changed: false });
});

test("a sample of a node that has committed nothing since its clean stop leaves the mark as it is", (t) => {
  const stopped = markAt(7, { exact: true });
  t.deepEqual(mayAdvance(stopped, markAt(sampledVersion(7))), { accepted: true, changed: false });
  t.false(mayAdvance(stopped, markAt(5)).accepted, "what is older than that was rolled back");
  t.false(mayAdvance(stopped, markAt(6, { exact: true })).accepted);
});

test("a sample of a running node never says more than what a power cut leaves in main", (t) => {
  // What is read may be a commit that only main has; after a power cut main is at that commit or the one before.
  fc.assert(
    fc.property(fc.nat(), fc.constantFrom(0, 1), (seen, lost) => sampledVersion(seen) <= Math.max(0, seen - lost)),
  );
  t.is(sampledVersion(0), 0);
  t.is(sampledVersion(10), 9);
});

for (const [title, change] of [
  ["no JSON", "x"],
  ["a version below zero", JSON.stringify({ ...markAt(3), dataVersion: -1 })],
  ["a version that is no number", JSON.stringify({ ...markAt(3), dataVersion: "3" })],
  ["a short node id", JSON.stringify({ ...markAt(3), nodeId: "02ab" })],
  ["a node's name that leads elsewhere", JSON.stringify({ ...markAt(3), node: "../bob" })],
] as const)
  test(`refuses a mark with ${title}`, (t) => {
    t.throws(() => parseMark(change));
  });

function place(t: ExecutionContext): string {
  const root = mkdtempSync(join(tmpdir(), "twofold-witness-"));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  mkdirSync(join(root, "alice"));
  return root;
}

test("a stored mark moves up, and an unchanged one is not written again", async (t) => {
  const root = place(t);
  const file = join(root, "alice", "mark.json");
  t.deepEqual(await readMark("alice", root), { state: "missing" });
  t.true(await advanceMark(markAt(5), root));
  const { ino } = statSync(file);
  t.false(await advanceMark(markAt(5), root));
  t.is(statSync(file).ino, ino);
  t.deepEqual(await readMark("alice", root), { state: "mark", mark: markAt(5) });
});

test("refuses a lower mark and leaves the file as it is", async (t) => {
  const root = place(t);
  await advanceMark(markAt(5), root);
  const before = readFileSync(join(root, "alice", "mark.json"), "utf8");
  await t.throwsAsync(advanceMark(markAt(3), root), {
    instanceOf: MarkRefused,
    message: /3 is lower than the recorded 5/,
  });
  t.is(readFileSync(join(root, "alice", "mark.json"), "utf8"), before);
});

test("refuses to write over a mark that can't be read; only a rebuild does", async (t) => {
  const root = place(t);
  writeFileSync(join(root, "alice", "mark.json"), "torn");
  t.is((await readMark("alice", root)).state, "damaged");
  await t.throwsAsync(advanceMark(markAt(9), root), { instanceOf: MarkRefused });
  await replaceMark(markAt(2, { source: "rebuild: disk lost" }), () => {}, root);
  t.like(await readMark("alice", root), { state: "mark", mark: { dataVersion: 2 } });
});

/** Holds the lock of alice's marks as another process would. @returns what lets it go */
async function lockMarks(root: string): Promise<() => void> {
  const holder = spawn("flock", ["--no-fork", join(root, "alice"), "cat"], { stdio: ["pipe", "pipe", "inherit"] });
  holder.stdin.write("\n");
  await once(holder.stdout, "data");
  return () => holder.stdin.end();
}

for (const [title, work] of [
  ["a sample", (root: string) => advanceMark(markAt(8), root)],
  [
    "a rebuild",
    (root: string) =>
      replaceMark(
        markAt(9),
        (before) => {
          if (before.state === "mark") throw new MarkRefused(`there is ${before.mark.dataVersion}`);
        },
        root,
      ),
  ],
] as const)
  test(`${title} that meets a clean stop waits for it, and then sees its mark`, async (t) => {
    const root = place(t);
    const unlock = await lockMarks(root);
    const { ino } = statSync(join(root, "alice"));
    let over = false;
    const working = work(root).finally(() => {
      over = true;
    });
    const waits = () => new RegExp(`-> FLOCK .*:${ino} `).test(readFileSync("/proc/locks", "utf8"));
    while (!over && !waits()) await setImmediate();
    t.false(over, "it did not wait");
    writeFileSync(join(root, "alice", "mark.json"), JSON.stringify(markAt(10, { exact: true })));
    unlock();
    await t.throwsAsync(working, { instanceOf: MarkRefused, message: /10/ });
    t.like(await readMark("alice", root), { state: "mark", mark: { dataVersion: 10 } });
  });

test("a rebuild that finds a mark it may not replace leaves it as it is", async (t) => {
  const root = place(t);
  await advanceMark(markAt(9), root);
  const may = () => {
    throw new Error("it came meanwhile");
  };
  await t.throwsAsync(replaceMark(markAt(2), may, root), { message: "it came meanwhile" });
  t.like(await readMark("alice", root), { state: "mark", mark: { dataVersion: 9 } });
});

const KEY = `ssh-ed25519 ${"A".repeat(68)}`;

test("a node's key can run nothing but the witness of that node", (t) => {
  const line = authorizedWitness("alice", KEY);
  t.true(line.startsWith('restrict,command="exec /usr/bin/node /usr/local/lib/twofold/current witness-serve alice" '));
  t.is(publicKeyOf(line), KEY);
});

test("refuses to authorize a key that carries options, and a node's name that is shell", (t) => {
  t.throws(() => authorizedWitness("alice", `command="sh" ${KEY}`));
  t.throws(() => authorizedWitness("alice; sh", KEY));
});

const nodeDocument: WitnessDocument = {
  stage: "witness",
  host: "alice",
  directory: "/var/lib/twofold/witness",
  node: { name: "alice", user: "bitcoin", group: "bitcoin" },
  writers: [],
};
const peerDocument: WitnessDocument = {
  stage: "witness",
  host: "vault",
  directory: "/var/lib/twofold/witness",
  writers: [{ node: "alice", account: "twofold-witness-alice", replica: "/srv/alice/wallet/lightningd.sqlite3" }],
};
const noFacts: WitnessFacts = {
  entries: new Map(),
  timer: undefined,
  service: undefined,
  accounts: new Map(),
  replicaOwners: new Map(),
  keys: new Map(),
};
const root = { kind: "directory", owner: "root", group: "root", mode: "0755" } as const;
const rootFile = { kind: "file", owner: "root", group: "root", mode: "0644" } as const;

test("the node's host as desired needs nothing", (t) => {
  const entries: WitnessFacts["entries"] = new Map([
    ...["/var/lib/twofold", "/var/lib/twofold/witness", NODE_STATE.directory, "/etc/twofold", "/etc/twofold/keys"].map(
      (path) => [path, root] as const,
    ),
    ...["/etc/systemd/system", "/etc/systemd/system/lightningd.service.d"].map((path) => [path, root] as const),
    ["/var/lib/twofold/witness/alice", { kind: "directory", owner: "bitcoin", group: "bitcoin", mode: "0700" }],
    [NODE_STATE.startLock, { kind: "file", owner: "root", group: "bitcoin", mode: "0640", content: "" }],
    [WITNESS_KEY, { kind: "file", owner: "bitcoin", group: "bitcoin", mode: "0400", content: "a secret" }],
    ...witnessUnitFiles({ name: "alice", user: "bitcoin", group: "bitcoin" }).map(
      ({ path, content }) => [path, { ...rootFile, content }] as const,
    ),
  ]);
  t.deepEqual(planWitness({ ...noFacts, entries, timer: unit, service: unit }, nodeDocument), []);
});

test("every action on a bare host belongs to a named item, or makes a directory that stages share", (t) => {
  const shared = [
    "directory:/var/lib/twofold",
    "directory:/etc/twofold",
    "directory:/etc/twofold/keys",
    "directory:/var/lib/twofold/peers",
    "directory:/etc/systemd/system",
    "directory:/etc/systemd/system/lightningd.service.d",
  ];
  const facts = {
    ...noFacts,
    replicaOwners: new Map([
      ["alice", { uid: 990, gid: 990, owner: "twofold-replica-alice", group: "twofold-replica-alice" }],
    ]),
  };
  for (const document of [nodeDocument, peerDocument]) {
    const items = new Set<string>([...witnessItems(document), ...shared]);
    const actions = planWitness(facts, document);
    t.true(actions.length > 4);
    t.deepEqual(
      actions.filter(({ item }) => !items.has(item)),
      [],
    );
  }
});

test("the start lock is never written anew, since a second file would be a second lock", (t) => {
  const entries: WitnessFacts["entries"] = new Map([
    [NODE_STATE.startLock, { kind: "file", owner: "root", group: "bitcoin", mode: "0640", content: "tampered" }],
  ]);
  const touched = planWitness({ ...noFacts, entries }, nodeDocument).filter(
    ({ item }) => item === `file:${NODE_STATE.startLock}`,
  );
  t.deepEqual(touched, []);
});

test("the account that peeks shares the number of the replica's owner, who alone can read the files", (t) => {
  const facts = {
    ...noFacts,
    replicaOwners: new Map([
      ["alice", { uid: 990, gid: 991, owner: "twofold-replica-alice", group: "twofold-replica-alice" }],
    ]),
  };
  const made = planWitness(facts, peerDocument).find(({ kind }) => kind === "witness/create-account");
  t.like(made, { name: "twofold-witness-alice", numbers: { uid: 990, gid: 991 } });
});

test("refuses the witness of a replica whose directory is not there yet", (t) => {
  const facts = { ...noFacts, replicaOwners: new Map([["alice", undefined]]) };
  t.throws(() => planWitness(facts, peerDocument), { message: /WITNESS-NO-REPLICA-DIRECTORY/ });
});

test("an authorized key with other options is put back to what it may do, with the same key", (t) => {
  const path = authorizedKeys("alice");
  const facts: WitnessFacts = {
    ...noFacts,
    entries: new Map([[path, { ...rootFile, content: `${KEY}\n` }]]),
    keys: new Map([["alice", KEY]]),
    replicaOwners: new Map([["alice", { uid: 990, gid: 990, owner: "r", group: "r" }]]),
  };
  const action = planWitness(facts, peerDocument).find(({ item }) => item === `file:${path}`);
  t.like(action, { kind: "write-file", content: authorizedWitness("alice", KEY) });
});

test("accounts are read from passwd", (t) => {
  const accounts = parsePasswd(
    "root:x:0:0:root:/root:/bin/bash\ntwofold-witness-alice:*:990:990::/var/lib/twofold/peers/alice:/bin/sh\n",
  );
  t.deepEqual(accounts.get("twofold-witness-alice"), {
    uid: 990,
    gid: 990,
    home: "/var/lib/twofold/peers/alice",
    shell: "/bin/sh",
  });
});

test("a pinned host key is filed under the address, with the port where it is not 22", (t) => {
  t.is(knownHostsName({ address: "192.0.2.20", port: 22 }), "192.0.2.20");
  t.is(knownHostsName({ address: "192.0.2.20", port: 2222 }), "[192.0.2.20]:2222");
});

test("an answer to getinfo gives the node id, an error gives none", (t) => {
  t.is(nodeIdOf(JSON.stringify({ jsonrpc: "2.0", id: "x", result: { id: NODE_ID } })), NODE_ID);
  t.is(nodeIdOf(JSON.stringify({ jsonrpc: "2.0", id: "x", error: { code: -32601 } })), undefined);
  t.is(nodeIdOf("{"), undefined);
});

test("after an end that was no clean stop nothing is run that would delay the next start", (t) => {
  const line =
    /^ExecStopPost=-\/bin\/sh -c '(.*)'$/m.exec(fillTemplate("lightningd-witness.conf", { directory: "/d" }))?.[1] ??
    "";
  // systemd turns "$$" into "$" (systemd.service(5), "Command lines").
  const script = line.replaceAll("$$", "$").replace("/usr/bin/node", "echo");
  const after = (result: string) =>
    spawnSync("/bin/sh", ["-c", script], { encoding: "utf8", env: { SERVICE_RESULT: result, PATH: process.env.PATH } });
  t.like(after("signal"), { status: 0, stdout: "" });
  t.like(after("exit-code"), { status: 0, stdout: "" });
  t.like(after("success"), { status: 0, stdout: "/usr/local/lib/twofold/current witness-record stop\n" });
});
