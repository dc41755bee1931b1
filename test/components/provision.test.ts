import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import test from "ava";
import { hostKeyFingerprint } from "../../components/connection.ts";
import { documentsOf } from "../../components/topology/documents.ts";
import { parseTopology } from "../../components/topology/parse.ts";
import { formatProblems } from "../../components/topology/problem.ts";
import type { Topology } from "../../components/topology/schema.ts";
import { provision } from "../../stacks/provision.ts";
import { scratchDirectory } from "../helpers/scratch.ts";
import { only, type Registered, record } from "./recorder.ts";

const directory = scratchDirectory();
const identityFile = join(directory, "alice");
/** Makes a key pair and returns its public half, as a host key is written. */
function makeKey(file: string): string {
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", file]);
  return readFileSync(`${file}.pub`, "utf8").split(" ").slice(0, 2).join(" ");
}
const hostKeys: Record<string, string> = { alice: makeKey(identityFile), vault: makeKey(join(directory, "vault")) };
const machine = (name: string) => hostKeyFingerprint(hostKeys[name] ?? "");
const program = { file: join(directory, "host.mjs"), sha256: "ab12" };
writeFileSync(program.file, "// the program");
const archive = join(directory, "lightningd.tar.xz");
writeFileSync(archive, "an archive");
const sha256 = "0".repeat(64);

const host = (name: string, address: string) => ({
  address,
  hostKey: hostKeys[name],
  identityFile,
  peerAddress: address,
});
const device = (name: string) => `/dev/disk/by-id/${name}`;

/** alice runs the node; vault keeps the replica and the witness. */
function topologyOf(lightningd: object = { archive, sha256 }): Topology {
  const parsed = parseTopology(
    {
      "twofold:hosts": {
        alice: host("alice", "192.0.2.10"),
        vault: {
          ...host("vault", "192.0.2.20"),
          volume: { kind: "btrfs", profile: "raid1", devices: [device("c"), device("d")], mount: "/srv/replica" },
        },
      },
      "twofold:node": {
        name: "alice",
        network: "regtest",
        host: "alice",
        lightningd,
        volume: { kind: "btrfs", profile: "raid1", devices: [device("a"), device("b")], mount: "/srv/lightning" },
        wallet: { kind: "sqlite", replica: { host: "vault", path: "/srv/replica/alice", via: "sshfs" } },
      },
    },
    "test",
  );
  if (!parsed.ok) {
    throw new Error(formatProblems(parsed.problems));
  }
  return parsed.topology;
}

const provisioned = (topology: Topology, options: { preview?: boolean } = {}) =>
  record(
    () =>
      provision({
        topology,
        documents: documentsOf(topology),
        program,
        bootstrapScript: "echo ready",
        machines: new Map(),
      }),
    options,
  );

const commands = (registered: Registered[]) => registered.filter(({ type }) => type === "command:remote:Command");

test.serial("every document is the stdin of one command, which applies its stage with this very program", async (t) => {
  const topology = topologyOf();
  const registered = await provisioned(topology);
  const documents = [...documentsOf(topology).values()].flat();
  t.true(documents.length >= 8);
  t.is(commands(registered).filter(({ name }) => name.endsWith("-apply")).length, documents.length);
  for (const document of documents) {
    const command = only(registered, `${document.host}-${document.stage}-apply`);
    t.is(command.type, "command:remote:Command");
    t.is(command.inputs.create, `/usr/local/lib/twofold/run ab12 apply ${document.stage} ${machine(document.host)}`);
    t.deepEqual(JSON.parse(command.inputs.stdin as string), JSON.parse(JSON.stringify(document)));
    t.is(command.inputs.addPreviousOutputInEnv, false);
    for (const absent of ["update", "triggers", "environment", "logging"]) {
      t.false(absent in command.inputs, `${command.name} has no ${absent}`);
    }
    const component = only(registered, `${document.host}-${document.stage}`);
    t.is(command.parent, component.urn);
    t.is(component.parent, "");
    t.true(command.dependencies.includes(only(registered, `${document.host}-program`).urn));
  }
});

test.serial("each stage is a component of its own kind", async (t) => {
  const registered = await provisioned(topologyOf());
  const kinds = Object.fromEntries(
    registered
      .filter(({ type }) => type.startsWith("twofold:"))
      .map(({ name, type }) => [name, type.split(":").at(-1)]),
  );
  t.like(kinds, {
    alice: "NodeHost",
    vault: "NodeHost",
    "alice-base": "BaseSystem",
    "alice-storage": "BtrfsVolumes",
    "alice-maintenance": "Maintenance",
    "alice-replica": "ReplicaSource",
    "vault-replica": "ReplicaTarget",
    "vault-witness": "Witness",
    "alice-alerts": "Alerts",
    "alice-lightningd": "LightningNode",
  });
});

test.serial("only lightningd is stopped when the stack is destroyed; nothing else has a delete", async (t) => {
  const registered = await provisioned(topologyOf());
  const deleting = registered.filter(({ inputs }) => "delete" in inputs);
  t.deepEqual(
    deleting.map(({ name, inputs }) => [name, inputs.delete]),
    [["alice-lightningd-apply", "/usr/local/lib/twofold/run current stop lightningd"]],
  );
});

test.serial("stages wait for one another: on their host, the mount for its target, lightningd for all", async (t) => {
  const registered = await provisioned(topologyOf());
  const urn = (name: string) => only(registered, name).urn;
  const waits = (name: string) => only(registered, `${name}-apply`).dependencies;
  t.true(waits("alice-storage").includes(urn("alice-base-apply")));
  t.true(waits("vault-replica").includes(urn("vault-maintenance-apply")));
  t.true(waits("alice-replica").includes(urn("alice-replica-access-vault")));
  t.false(waits("vault-replica").includes(urn("alice-replica-apply")));
  const before = (each: string): string[] =>
    registered
      .filter((other) => other.urn === each)
      .flatMap(({ dependencies }) => [...dependencies, ...dependencies.flatMap(before)]);
  const reached = new Set(before(urn("alice-lightningd-apply")));
  for (const { name, urn: each } of commands(registered)) {
    t.is(reached.has(each), name !== "alice-lightningd-apply", name);
  }
});

test.serial(
  "the node's keys are printed on its host and brought to the others, again if either machine is another",
  async (t) => {
    const registered = await provisioned(topologyOf());
    for (const [purpose, print, authorize] of [
      ["replica", "replica-key alice", "replica-authorize twofold-replica-alice alice"],
      ["witness", "witness-key", "witness-authorize alice"],
    ]) {
      const component = only(registered, `alice-${purpose}-access`);
      const key = only(registered, `alice-${purpose}-access-key`);
      const access = only(registered, `alice-${purpose}-access-vault`);
      t.is(component.type, "twofold:host:PeerAccess");
      t.deepEqual([key.parent, access.parent], [component.urn, component.urn]);
      t.is(key.inputs.create, `/usr/local/lib/twofold/run ab12 ${print}`);
      t.deepEqual(key.inputs.triggers, [machine("alice")]);
      t.is(access.inputs.create, `/usr/local/lib/twofold/run ab12 ${authorize}`);
      t.deepEqual(access.inputs.triggers, [machine("vault"), machine("alice")]);
      t.is(access.inputs.stdin, `the output of ${key.name}`);
      t.true(access.dependencies.includes(key.urn));
      t.true(access.dependencies.includes(only(registered, `vault-${purpose}-apply`).urn));
      t.false("delete" in key.inputs || "delete" in access.inputs);
    }
  },
);

test.serial("a local archive is copied to where the document says, before lightningd's stage", async (t) => {
  const topology = topologyOf();
  const registered = await provisioned(topology);
  const upload = only(registered, "alice-lightningd-upload");
  const stage = only(registered, "alice-lightningd-apply");
  const { install } = JSON.parse(stage.inputs.stdin as string) as { install: { source: string } };
  t.is(upload.type, "command:remote:CopyToRemote");
  t.is(upload.inputs.remotePath, install.source);
  t.is((upload.inputs.source as { path: string }).path, archive);
  t.deepEqual(upload.inputs.triggers, [machine("alice")]);
  t.true(stage.dependencies.includes(upload.urn));
  t.is(upload.parent, only(registered, "alice-lightningd").urn);
});

test.serial("nothing is uploaded for a lightningd that is installed or fetched by the host", async (t) => {
  for (const lightningd of [
    { preinstalled: "/usr/bin/lightningd" },
    { archive: "https://example.org/l.tar.xz", sha256 },
  ]) {
    const registered = await provisioned(topologyOf(lightningd));
    t.deepEqual(
      registered.filter(({ type }) => type === "command:remote:CopyToRemote").map(({ name }) => name),
      ["alice-program", "vault-program"],
    );
  }
});

test.serial("in a preview the documents are known even where the machine is not", async (t) => {
  const topology = topologyOf();
  const documents = documentsOf(topology);
  const registered = await record(
    () => {
      // Its id is unknown until it is made, as a container's is.
      const container = new (class extends pulumi.CustomResource {})("test:index:Container", "container", {});
      const made = { machine: container.id, resource: container };
      const machines = new Map([...documents.keys()].map((name) => [name, made]));
      return provision({ topology, documents, program, bootstrapScript: "echo ready", machines });
    },
    { preview: true },
  );
  const command = only(registered, "alice-storage-apply");
  t.like(JSON.parse(command.inputs.stdin as string), { stage: "storage", host: "alice" });
  t.not(command.inputs.create, undefined);
  t.false(String(command.inputs.create).includes("apply"), "the command line is unknown until the machine is there");
  t.is(command.deletedWith, only(registered, "container").urn);
});
