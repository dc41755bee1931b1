import { writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import fc from "fast-check";
import { parseStackConfig, StackConfigError } from "../../components/topology/stack-config.ts";
import { StackProgram } from "./stack-program.ts";

const device = (name: string) => `/dev/disk/by-id/${name}`;

/** alice alone, on an address that belongs to nobody (RFC 5737): nothing here may reach for it. */
function configOf(program: StackProgram, change: { node?: object; host?: object; top?: object } = {}) {
  const hostKey = program.key("alice");
  return {
    "twofold:hosts": {
      alice: { address: "192.0.2.10", hostKey, identityFile: join(program.directory, "alice"), ...change.host },
    },
    "twofold:node": {
      name: "alice",
      network: "regtest",
      host: "alice",
      lightningd: { preinstalled: "/usr/bin/lightningd" },
      volume: { kind: "btrfs", profile: "raid1", devices: [device("a"), device("b")], mount: "/srv/lightning" },
      wallet: { kind: "sqlite" },
      ...change.node,
    },
    ...change.top,
  };
}

const volume = (profile: string, ...devices: string[]) => ({
  volume: { kind: "btrfs", profile, devices: devices.map(device), mount: "/srv/lightning" },
});

/** Of raid1 some cells are proved, and a change to what is not would have to be accepted. */
const UNPROVED = volume("raid1c3", "a", "b", "c");

const up = ["up", "--yes", "--skip-preview"];

test("fails in a preview with every problem of the config at once, and makes nothing", async (t) => {
  const program = await StackProgram.make();
  t.teardown(() => program.remove());
  const config = configOf(program, {
    node: { walet: {}, network: "bitcoim" },
    host: { prot: 22 },
    top: { "twofold:maintenanec": {} },
  });
  const { ran, text, carried } = await program.run(["preview"], config);
  t.not(ran.status, 0);
  for (const words of [/node\.walet/, /write 'wallet'/, /perhaps bitcoin/, /alice\.prot/, /twofold:maintenanec/]) {
    t.regex(text, words);
  }
  t.notRegex(text, /at file:\/\/|\.ts:\d+/, "no stack trace");
  t.notRegex(text, /command:remote/, "no resource was declared");
  t.deepEqual(carried, []);
});

test("refuses an encrypted value, since a topology is shown in every preview", async (t) => {
  const program = await StackProgram.make();
  t.teardown(() => program.remove());
  await program.run(["config", "set", "twofold:maintenance", "--secret", "{}"], configOf(program));
  // The operation above has changed the file; it is used as it is.
  const ran = await program.pulumi(
    [
      "preview",
      "--stack",
      "engine",
      "--non-interactive",
      "--config-file",
      join(program.directory, "Pulumi.engine.yaml"),
    ],
    { cwd: join(import.meta.dirname, "../..") },
  );
  t.not(ran.status, 0);
  t.regex(ran.stdout + ran.stderr, /CONFIG_SECRET: twofold:maintenance[\s\S]*to do: pulumi config rm/);
});

test("every scalar that the verbs take is the one that Pulumi's program gets", async (t) => {
  const program = await StackProgram.make();
  t.teardown(() => program.remove());
  const random = fc.oneof(
    fc.stringMatching(/^[-+.]?[0-9_]{1,6}$/),
    fc.stringMatching(/^[-+]?0?[xXoObB.]?[0-9a-fA-F_]{1,4}([eE][-+]?[0-9]{1,2})?$/),
    fc.stringMatching(/^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ][0-9]{1,2}:[0-9]{1,2}:[0-9]{2}(\.[0-9])?(Z|[+]01:00)?)?$/),
    fc.constantFrom(
      "yes",
      "No",
      "on",
      "TRUE",
      "true",
      "null",
      "Null",
      "~",
      "=",
      "1:30",
      "190:20:30",
      "0o8",
      "::1",
      "0.0.0.0",
    ),
  );
  const seed = Math.floor(Math.random() * 2 ** 31);
  const scalars = [...new Set(fc.sample(random, { seed, numRuns: 1500 }))];
  const taken: [string, unknown][] = [];
  for (const scalar of scalars) {
    const text = `config:\n  twofold:x:\n    - ${scalar}\n`;
    try {
      const [value] = parseStackConfig(text, "Pulumi.engine.yaml").config["twofold:x"] as unknown[];
      taken.push([scalar, value]);
    } catch (error) {
      if (!(error instanceof StackConfigError)) throw error;
    }
  }
  t.true(taken.length > 300, `${taken.length} of ${scalars.length} taken, seed ${seed}`);
  const read = await program.read(`config:\n  twofold:x:\n${taken.map(([scalar]) => `    - ${scalar}\n`).join("")}`);
  const theirs = read["twofold:x"] as unknown[];
  t.deepEqual(
    taken.flatMap(([scalar, ours], index) =>
      Object.is(theirs[index], ours) ? [] : [{ scalar, ours, theirs: theirs[index] }],
    ),
    [],
    `seed ${seed}`,
  );
});

test("what the verbs refuse without quotes is something else for Pulumi", async (t) => {
  const program = await StackProgram.make();
  t.teardown(() => program.remove());
  const read = await program.read(
    "config:\n  options: { rpc-file-mode: 0660, a: 1_000, b: 0b11, c: 2026-11-20, d: -0x1F }\n",
  );
  t.deepEqual(read, {
    "twofold:options": { "rpc-file-mode": 432, a: 1000, b: 3, c: "2026-11-20 00:00:00 +0000 UTC", d: -31 },
  });
});

test("refuses a stand-in plugin for a real node, unless its config allows it", async (t) => {
  const program = await StackProgram.make();
  t.teardown(() => program.remove());
  writeFileSync(join(program.plugins, "STANDIN"), "");
  const refused = await program.run(["preview"], configOf(program));
  t.not(refused.ran.status, 0);
  t.regex(refused.text, /PLUGIN_STANDIN[\s\S]*pulumi plugin install resource command v1\.2\.1/);
  const allowed = await program.run(["preview"], configOf(program, { top: { "twofold:allowStandins": true } }));
  t.is(allowed.ran.status, 0, allowed.text);
  t.regex(allowed.text, /warning: a stand-in is at work for the provider plugin 'command'/);
});

test("a first preview shows the survival table and needs no host; an up without a change carries out nothing", async (t) => {
  const program = await StackProgram.make();
  t.teardown(() => program.remove());
  const config = configOf(program);
  const preview = await program.run(["preview"], config);
  t.is(preview.ran.status, 0, preview.text);
  t.regex(preview.text, /survival\s*: \{[\s\S]*disk\s*: "yes \| nothing/);
  t.deepEqual(preview.carried, []);

  const first = await program.run(up, config);
  t.is(first.ran.status, 0, first.text);
  t.deepEqual(
    first.carried.map(({ operation, name }) => `${operation} ${name}`),
    [
      "bootstrap",
      "program",
      "base-apply",
      "storage-apply",
      "maintenance-apply",
      "witness-apply",
      "alerts-apply",
      "lightningd-apply",
    ].map((name) => `create alice-${name}`),
  );
  const second = await program.run(up, config);
  t.is(second.ran.status, 0, second.text);
  t.deepEqual(second.carried, []);
});

test("a change shows as a difference inside the document, updates just its stage, and replaces nothing", async (t) => {
  const program = await StackProgram.make();
  t.teardown(() => program.remove());
  await program.run(up, configOf(program, { node: UNPROVED }));
  const config = configOf(program, { node: volume("raid1c4", "a", "b", "c", "d") });
  const preview = await program.run(["preview", "--diff"], config);
  t.regex(preview.text, /profile\s*: "raid1c3" => "raid1c4"/);
  t.regex(preview.text, /"\/dev\/disk\/by-id\/d"/);
  t.notRegex(preview.text, /BEGIN OPENSSH PRIVATE KEY/);
  const changed = await program.run(up, config);
  t.is(changed.ran.status, 0, changed.text);
  t.deepEqual(
    changed.carried.map(({ operation, name }) => `${operation} ${name}`),
    ["update alice-storage-apply"],
  );
});

test("a rebuilt host is provisioned again from bootstrap to lightningd, and its program is copied anew", async (t) => {
  const program = await StackProgram.make();
  t.teardown(() => program.remove());
  await program.run(up, configOf(program));
  const { ran, text, carried } = await program.run(
    up,
    configOf(program, { host: { hostKey: program.key("rebuilt") } }),
  );
  t.is(ran.status, 0, text);
  const done = carried
    .filter(({ operation }) => operation !== "delete")
    .map(({ operation, name }) => `${operation} ${name}`);
  t.deepEqual(done, [
    "update alice-bootstrap",
    "create alice-program",
    ...["base", "storage", "maintenance", "witness", "alerts", "lightningd"].map(
      (stage) => `update alice-${stage}-apply`,
    ),
  ]);
  t.false(
    carried.some(({ operation, line }) => operation === "delete" && line !== null),
    "nothing was stopped",
  );
});

test("refuses a change that survives less, again and again, until just this change is accepted", async (t) => {
  const program = await StackProgram.make();
  t.teardown(() => program.remove());
  await program.run(up, configOf(program, { node: volume("raid1c3", "a", "b", "c") }));
  const before = await program.output("survival");
  const worse = { node: volume("raid1", "a", "b") };

  // The second try is what a check in an `apply` lets through: the first would have recorded the worse table.
  for (const attempt of ["first", "second"]) {
    const { ran, text, carried } = await program.run(up, configOf(program, worse));
    t.not(ran.status, 0, attempt);
    t.regex(text, /SURVIVES_LESS[\s\S]*two disks of the node's volume die at once, survives: yes → no/, attempt);
    t.deepEqual(carried, [], attempt);
    t.deepEqual(await program.output("survival"), before, attempt);
  }

  const accepting = (change: object, table: string) =>
    configOf(program, { ...change, top: { "twofold:accept": { table, reason: "a third disk is on its way" } } });
  /** The digest that a preview of the change asks for. */
  const digestOf = async (config: ReturnType<typeof configOf>) =>
    /table: ([0-9a-f]{12})/.exec((await program.run(["preview"], config)).text)?.[1] ?? "";
  const digest = await digestOf(configOf(program, worse));
  const other = await program.run(up, accepting(worse, "0123456789ab"));
  t.regex(other.text, /an acceptance of another change, 0123456789ab/);
  t.deepEqual(other.carried, []);
  const taken = await program.run(up, accepting(worse, digest));
  t.is(taken.ran.status, 0, taken.text);
  t.is(await program.output("tableDigest"), digest);

  // Back to three disks, of which less is proved, so that this is accepted by itself too.
  const better = { node: volume("raid1c3", "a", "b", "c") };
  const improved = await program.run(up, accepting(better, await digestOf(accepting(better, digest))));
  t.is(improved.ran.status, 0, improved.text);
  const again = await program.run(up, accepting(worse, digest));
  t.not(again.ran.status, 0, "an acceptance that stayed in the config accepted the same change once more");
  t.regex(again.text, new RegExp(`SURVIVES_LESS[\\s\\S]*an acceptance of another change, ${digest}`));
});

test("refuses to make another node out of the one that is there, before anything is carried out", async (t) => {
  const program = await StackProgram.make();
  t.teardown(() => program.remove());
  await program.run(up, configOf(program));
  for (const [code, node] of [
    ["CHANGE_NODE_NAME", { name: "carol" }],
    ["CHANGE_NETWORK", { network: "signet" }],
    ["CHANGE_DIRECTORY", { directory: "/srv/lightning/other" }],
  ] as const) {
    const { ran, text, carried } = await program.run(up, configOf(program, { node }));
    t.not(ran.status, 0, code);
    t.regex(text, new RegExp(`${code}[\\s\\S]*nothing was touched|nothing was touched[\\s\\S]*${code}`));
    t.deepEqual(carried, [], code);
  }
});

test("fails without recording the new table when a stage fails, so that the next up compares with what is there", async (t) => {
  const program = await StackProgram.make();
  t.teardown(() => program.remove());
  await program.run(up, configOf(program, { node: volume("raid10", "a", "b", "c", "d") }));
  const before = await program.output("tableDigest");
  const better = configOf(program, { node: volume("raid1c3", "a", "b", "c", "d") });
  const failed = await program.run(up, better, { RECORD_FAIL: "apply storage" });
  t.not(failed.ran.status, 0);
  t.is(await program.output("tableDigest"), before);
  const next = await program.run(up, better);
  t.is(next.ran.status, 0, next.text);
  t.not(await program.output("tableDigest"), before);
});

test("destroying a stack stops lightningd, and does nothing else to the host", async (t) => {
  const program = await StackProgram.make();
  t.teardown(() => program.remove());
  await program.run(up, configOf(program));
  const { ran, text, carried } = await program.run(["destroy", "--yes", "--skip-preview"], configOf(program));
  t.is(ran.status, 0, text);
  const lines = carried.filter(({ line }) => line !== null);
  t.is(lines.length, 1);
  t.regex(lines[0]?.line ?? "", /^\/usr\/local\/lib\/twofold\/run current stop lightningd$/);
  t.is(carried[0]?.name, "alice-lightningd-apply", "it goes first");
});
