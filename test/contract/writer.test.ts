/** The writer's record is what proofs are judged by, so it is judged here against the wallet, under kill -9 and a daemon that hangs. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { bundleWriter } from "../faults/bundle-writer.ts";
import type { WriterEvent } from "../faults/writer.ts";
import { Daemon, install } from "../helpers/lightningd-daemon.ts";
import { readWallet } from "../helpers/lightningd-wallet.ts";

const root = mkdtempSync("/tmp/tf-");
const installation = install("lab", root);
const program = join(root, "writer.mjs");
const daemons: Daemon[] = [];
const writers: ChildProcess[] = [];
let nodes = 0;

test.before(() => bundleWriter(program));
test.after.always(async () => {
  for (const writer of writers) writer.kill("SIGKILL");
  for (const daemon of daemons) if (daemon.running) await daemon.kill();
  rmSync(root, { recursive: true, force: true });
});

interface Node {
  daemon: Daemon;
  main: string;
  directory: string;
}

async function startNode(): Promise<Node> {
  const directory = join(root, `n${nodes++}`);
  return { directory, daemon: await startDaemon(directory), main: join(directory, "regtest/lightningd.sqlite3") };
}

async function startDaemon(directory: string): Promise<Daemon> {
  const daemon = await Daemon.start(installation, { directory });
  daemons.push(daemon);
  return daemon;
}

interface Run {
  status: number;
  stderr: string;
  journal: WriterEvent[];
  /** The lines of stdout. */
  collected: WriterEvent[];
}

const parse = (text: string) =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as WriterEvent);

/** Runs the writer to its end; `onLine` is called for each line that it prints, as it comes. */
async function write(node: Node, words: string[], onLine?: (lines: number) => void): Promise<Run> {
  const journal = join(node.directory, "journal");
  const own = ["--socket", node.daemon.socket, "--seed", "s", "--journal", journal];
  const writer = spawn(process.execPath, [program, ...own, ...words], { stdio: ["ignore", "pipe", "pipe"] });
  writers.push(writer);
  let stdout = "";
  let stderr = "";
  writer.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString();
    onLine?.(stdout.split("\n").length - 1);
  });
  writer.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const [status] = (await once(writer, "close")) as [number];
  return { status, stderr, journal: parse(readFileSync(journal, "utf8")), collected: parse(stdout) };
}

const labelsOf = (events: WriterEvent[], event: WriterEvent["event"]) =>
  events.flatMap((entry) => (entry.event === event && "label" in entry ? [entry.label] : []));

test("the writer acknowledges exactly the invoices that are in the wallet", async (t) => {
  const node = await startNode();
  const run = await write(node, ["--count", "20", "--first", "5"]);
  const expected = Array.from({ length: 20 }, (_, index) => `s-${index + 5}`);
  t.is(run.status, 0);
  t.deepEqual(labelsOf(run.journal, "acknowledged"), expected);
  t.deepEqual(labelsOf(run.collected, "acknowledged"), expected);
  t.deepEqual(readWallet(node.main).labels, expected);
});

test("the writer notes each label before it is sent, and its time never runs backwards", async (t) => {
  const run = await write(await startNode(), ["--count", "10"]);
  const steps = run.journal.filter((entry) => "label" in entry).map(({ event }) => event);
  t.deepEqual(
    steps,
    Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? "sent" : "acknowledged")),
  );
  const times = run.journal.map(({ ns }) => BigInt(ns));
  t.true(times.every((time, index) => index === 0 || time >= (times[index - 1] ?? 0n)));
});

test("the writer has each label of a killed daemon in one outcome, and nothing acknowledged is lost", async (t) => {
  const node = await startNode();
  const run = await write(node, ["--seconds", "20"], (lines) => {
    if (lines > 30) node.daemon.process.kill("SIGKILL");
  });
  t.is(run.status, 3);
  const acknowledged = labelsOf(run.journal, "acknowledged");
  const unknown = labelsOf(run.journal, "unknown");
  t.true(acknowledged.length > 30);
  t.deepEqual([...acknowledged, ...unknown], labelsOf(run.journal, "sent"));
  const { labels } = readWallet(node.main);
  t.deepEqual(
    acknowledged.filter((label) => !labels.includes(label)),
    [],
  );
  t.deepEqual(
    labels.filter((label) => !acknowledged.includes(label) && !unknown.includes(label)),
    [],
  );
});

test("the writer goes on with the next label when the daemon comes back", async (t) => {
  const node = await startNode();
  let killed = false;
  const run = await write(node, ["--count", "60", "--reconnect", "30"], (lines) => {
    if (lines < 10 || killed) return;
    killed = true;
    void node.daemon.kill().then(() => startDaemon(node.directory));
  });
  t.is(run.status, 0);
  t.true(killed);
  t.is(labelsOf(run.journal, "sent").length, 60);
  t.is(new Set(labelsOf(run.journal, "sent")).size, 60);
  const { labels } = readWallet(node.main);
  t.deepEqual(
    labelsOf(run.journal, "acknowledged").filter((label) => !labels.includes(label)),
    [],
  );
});

test("the writer ends in time beside a daemon that hangs, with the outcome unknown", async (t) => {
  const node = await startNode();
  const run = await write(node, ["--seconds", "3"], (lines) => {
    if (lines === 5) node.daemon.process.kill("SIGSTOP");
  });
  node.daemon.process.kill("SIGCONT");
  t.is(run.status, 0);
  t.is(labelsOf(run.journal, "unknown").length, 1);
});

test("the writer writes down an answer that is an error as failed", async (t) => {
  const node = await startNode();
  await node.daemon.client.invoice("s-2");
  const run = await write(node, ["--count", "3"]);
  t.deepEqual(labelsOf(run.journal, "failed"), ["s-2"]);
  t.deepEqual(labelsOf(run.collected, "acknowledged"), ["s-1", "s-3"]);
});

test("the writer keeps to its rate and stays idle after each burst", async (t) => {
  const node = await startNode();
  const run = await write(node, ["--count", "9", "--rate", "100", "--burst", "3", "--idle", "400"]);
  const sent = run.journal.filter(({ event }) => event === "sent").map(({ ns }) => Number(BigInt(ns) / 1_000_000n));
  const gaps = sent.slice(1).map((time, index) => time - (sent[index] ?? 0));
  t.true(
    gaps.every((gap, index) => gap >= (index % 3 === 2 ? 399 : 9)),
    gaps.join(" "),
  );
});

test("refuses to write without an end, or with a bound that is no number", async (t) => {
  const node = await startNode();
  const attempt = async (words: string[]) => {
    const writer = spawn(process.execPath, [program, "--socket", node.daemon.socket, "--seed", "s", ...words]);
    let stderr = "";
    writer.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const [status] = (await once(writer, "close")) as [number];
    return { status, stderr };
  };
  const endless = await attempt(["--journal", "/dev/null"]);
  t.is(endless.status, 1);
  t.true(endless.stderr.includes("--count or --seconds"), endless.stderr);
  const bad = await attempt(["--journal", "/dev/null", "--count", "many"]);
  t.is(bad.status, 1);
  t.true(bad.stderr.includes("received 'many'"), bad.stderr);
});
