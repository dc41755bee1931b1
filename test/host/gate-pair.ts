/** Two real hosts, a node with its replica and a witness on the other, provisioned by the very documents and steps that a stack has. */
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { documentsOf } from "../../components/topology/documents.ts";
import { parseTopology } from "../../components/topology/parse.ts";
import { uploadOf } from "../../components/topology/places.ts";
import { formatProblems } from "../../components/topology/problem.ts";
import type { GateReport } from "../../scripts/host/commands/gate.ts";
import type { LightningdDocument, StageDocument } from "../../scripts/host/contract.ts";
import { planSteps } from "../../stacks/steps.ts";
import { type Ended, TestHost } from "../helpers/host.ts";
import { type Config, keyed, sshfsConfig } from "../helpers/topologies.ts";

const NODE = "/usr/local/lib/twofold-lab/node";
const BACKEND = "/usr/local/lib/twofold-lab/chain-backend";
export const REAL = process.env.TWOFOLD_LIGHTNINGD_ARCHIVE;

export const MAIN = "/srv/lightning/lightning/regtest/lightningd.sqlite3";
export const SECRET = "/srv/lightning/lightning/regtest/hsm_secret";
/** As the node's host sees it, and as its own host does. */
export const REPLICA = "/var/lib/twofold-replica/alice/lightningd.sqlite3";
export const REPLICA_ON_VAULT = "/srv/replicas/alice/wallet/lightningd.sqlite3";

export interface Pair {
  alice: TestHost;
  vault: TestHost;
  documents: Map<string, StageDocument[]>;
  down(): Promise<void>;
}

/** Installs what a lightningd of the tests needs, and returns the archive's SHA-256. */
function copyLightningd(host: TestHost, work: string): { archive: string; sha256: string } {
  const pack = join(import.meta.dirname, "../../scripts/standins/lightningd/pack.ts");
  execFileSync(process.execPath, [pack, join(work, "lab.tar.xz"), "--chain-backend", join(work, "chain-backend")]);
  const archive = REAL ?? join(work, "lab.tar.xz");
  const sha256 = createHash("sha256").update(readFileSync(archive)).digest("hex");
  const copy = (from: string, to: string) => execFileSync("docker", ["cp", from, `${host.container}:${to}`]);
  execFileSync("docker", ["exec", host.container, "mkdir", "-p", "/usr/local/lib/twofold-lab"]);
  copy(process.execPath, NODE);
  copy(join(work, "chain-backend"), BACKEND);
  execFileSync("docker", ["exec", host.container, "chmod", "0755", NODE, BACKEND]);
  return { archive, sha256 };
}

async function addressOf(host: TestHost): Promise<{ address: string; hostKey: string }> {
  const address = execFileSync("docker", [
    "inspect",
    "--format",
    "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
    host.container,
  ]);
  const key = await host.must("sh", "-c", "ssh-keyscan -q -t ed25519 127.0.0.1 2>/dev/null");
  return { address: address.toString().trim(), hostKey: key.split(" ").slice(-2).join(" ") };
}

/** @param change what the test's topology has other than alice with RAID-1 and a replica over sshfs on vault */
export async function startPair(change: (config: Config) => void = () => {}): Promise<Pair> {
  const work = mkdtempSync(join(tmpdir(), "twofold-pair-"));
  const alice = await TestHost.start({ disks: 2 });
  const vault = await TestHost.start({ disks: 1 }).catch(async (error) => {
    await alice.stop();
    throw error;
  });
  const down = async () => {
    await Promise.all([alice.stop(), vault.stop()]);
    rmSync(work, { recursive: true, force: true });
  };
  try {
    const { archive, sha256 } = copyLightningd(alice, work);
    const config = sshfsConfig();
    config.hosts = {
      alice: { ...config.hosts.alice, ...(await addressOf(alice)) },
      vault: {
        ...config.hosts.vault,
        ...(await addressOf(vault)),
        volume: { kind: "btrfs", profile: "single", devices: [vault.disks[0]], mount: "/srv/replicas" },
      },
    };
    config.node.network = "regtest";
    config.node.lightningd = { archive, sha256 };
    config.node.volume.devices = alice.disks.slice(0, 2);
    config.node.options = { alias: "alice", "disable-plugin": ["bcli"], plugin: [BACKEND] };
    config.node.witness = ["vault"];
    change(config);
    // The volumes' UUIDs come from the stack's name, and one kernel mounts one UUID once.
    const parsed = parseTopology(keyed(config), `gate-${randomBytes(4).toString("hex")}`);
    if (!parsed.ok) throw new Error(formatProblems(parsed.problems));
    const upload = uploadOf(parsed.topology);
    if (upload) execFileSync("docker", ["cp", archive, `${alice.container}:${upload.remotePath}`]);
    const documents = documentsOf(parsed.topology);
    const pair: Pair = { alice, vault, documents, down };
    await provision(pair);
    return pair;
  } catch (error) {
    await down();
    throw error;
  }
}

/** Every step of the stack, in its order. */
export async function provision({ alice, vault, documents }: Pair): Promise<void> {
  const hosts: Record<string, TestHost | undefined> = { alice, vault };
  const hostOf = (name: string) => {
    const host = hosts[name];
    if (host === undefined) throw new Error(`there is no host ${name} in the pair`);
    return host;
  };
  for (const step of planSteps(documents)) {
    if (step.kind === "stage") {
      await hostOf(step.document.host).apply(step.document);
      continue;
    }
    if (step.kind === "certificates") throw new Error("the pair has no PostgreSQL cluster");
    const key = succeeded(await hostOf(step.source).program(step.print));
    for (const { host, authorize } of step.targets) succeeded(await hostOf(host).program(authorize, key));
  }
}

export function succeeded({ status, stdout, stderr }: Ended): string {
  if (status !== 0) throw new Error(`ended with ${status}: ${stdout}${stderr}`);
  return stdout;
}

export const lightningdOf = ({ documents }: Pair) =>
  documents.get("alice")?.find((document): document is LightningdDocument => document.stage === "lightningd");

export async function gate({ alice }: Pair): Promise<GateReport> {
  const { stdout, stderr } = await alice.program(["gate"]);
  if (stdout === "") throw new Error(`gate said nothing: ${stderr}`);
  return JSON.parse(stdout) as GateReport;
}

const cli = [
  "setpriv",
  "--reuid=bitcoin",
  "--regid=bitcoin",
  "--init-groups",
  "/opt/twofold/bin/lightning-cli",
  "--conf=/etc/lightningd/lightningd.conf",
];
export const rpc = async ({ alice }: Pair, ...words: string[]) => JSON.parse(await alice.must(...cli, ...words));

/** Asks until `condition` holds. */
export async function eventually(what: string, seconds: number, condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  while (!(await condition().catch(() => false))) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${seconds} s`);
    await delay(200);
  }
}

export const answers = (pair: Pair, seconds = 30) =>
  eventually("lightningd answers", seconds, async () => typeof (await rpc(pair, "getinfo")).id === "string");

/** Starts the unit and follows it until lightningd answers, the gate has refused, or it waits with the code. */
export async function start(pair: Pair, until: "answers" | "refused" | { waits: string }): Promise<string> {
  const { alice } = pair;
  const cursor = (await alice.must("journalctl", "--lines=0", "--show-cursor", "--quiet")).replace(/^-- cursor: /, "");
  await alice.exec(["systemctl", "reset-failed", "lightningd.service"]);
  await alice.must("systemctl", "start", "--no-block", "lightningd.service");
  const said = () =>
    alice.must(
      "journalctl",
      "--unit=lightningd.service",
      "--output=cat",
      "--no-pager",
      "--quiet",
      `--after-cursor=${cursor}`,
    );
  if (until === "answers") await answers(pair, 60);
  else if (until === "refused") {
    await eventually(
      "the gate refuses",
      60,
      async () =>
        (await alice.must("systemctl", "show", "--value", "--property=ActiveState", "lightningd.service")) === "failed",
    );
    const status = await alice.must("systemctl", "show", "--value", "--property=ExecMainStatus", "lightningd.service");
    if (status !== "78") throw new Error(`the unit failed with ${status}, not by the gate: ${await said()}`);
  } else
    await eventually(`the gate waits with ${until.waits}`, 60, async () =>
      (await said()).includes(`waiting (${until.waits})`),
    );
  return said();
}

export const stop = async ({ alice }: Pair) => {
  await alice.must("systemctl", "stop", "lightningd.service");
};

/** SHA-256 of everything of the wallet that is there, journals included; shared memory holds nothing. */
export async function digests({ alice, vault }: Pair): Promise<string> {
  const list = (host: TestHost, ...directories: string[]) =>
    host.must(
      "sh",
      "-c",
      `find ${directories.join(" ")} -type f ! -name '*-shm' -exec sha256sum {} + 2>/dev/null | sort -k2`,
    );
  return `${await list(alice, "/srv/lightning/lightning/regtest")}\n${await list(vault, "/srv/replicas/alice/wallet")}`;
}
