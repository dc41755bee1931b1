import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { parse } from "yaml";
import { parseTopology } from "../../components/topology/parse.ts";
import { bytesOf, type LabFacts, parseLabFile, renderStackFile, stackConfig } from "../../scripts/setup/lab-config.ts";
import { diskName, type LabFile, labConfigSchema } from "../../stacks/lab-schema.ts";

const LABS = join(import.meta.dirname, "../../stacks/labs");

/** Each host has a key of its own: two with the same would be one machine. */
function keyOf(host: number): string {
  return `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN6KpddMhfjGlxu9JzvR9Q6LziKpNWY9VD5srpFTFqK${host}`;
}

/** What set-up would decide for a lab file. */
function factsFor(file: LabFile): LabFacts {
  const names = Object.keys(file.hosts);
  return {
    lab: {
      stack: "lab",
      image: "twofold-lab-host:0123456789ab",
      network: "twofold-lab",
      tools: "/labs/lab/tools",
      hosts: Object.fromEntries(
        names.map((name, index) => [
          name,
          {
            container: `twofold-lab-${name}`,
            sshPort: 20000 + index,
            keys: `/labs/lab/keys/${name}`,
            packages: `/labs/lab/packages/${name}`,
            disks: Object.fromEntries(
              Object.keys(file.hosts[name]?.disks ?? {}).map((disk, number) => [disk, `/dev/loop${index}${number}`]),
            ),
          },
        ]),
      ),
    },
    hostKeys: Object.fromEntries(names.map((name, index) => [name, keyOf(index)])),
    identityFile: "/labs/lab/operator_ed25519",
    archive: "/labs/lab/lightningd-lab.tar.xz",
    sha256: "0".repeat(64),
    chainBackend: "/usr/local/lib/twofold-lab/chain-backend",
    encryptionSalt: "v1:salt",
  };
}

for (const name of readdirSync(LABS)) {
  const file = parseLabFile(readFileSync(join(LABS, name), "utf8"), name);

  test(`the lab ${name} becomes a config that every rule accepts`, (t) => {
    const config = stackConfig(file, factsFor(file));
    const parsed = parseTopology(config, "lab");
    t.deepEqual(parsed.ok ? [] : parsed.problems, []);
    t.notThrows(() => labConfigSchema.parse(config["twofold:lab"]));
  });

  test(`every disk that the topology of ${name} names is one that the lab has`, (t) => {
    const disks = Object.entries(file.hosts).flatMap(([host, { disks }]) =>
      Object.keys(disks).map((disk) => diskName(host, disk)),
    );
    const named = JSON.stringify(file.config).match(/\/dev\/disk\/by-id\/[a-z0-9-]+/g) ?? [];
    t.true(named.length > 0);
    t.deepEqual(
      named.filter((device) => !disks.includes(device)),
      [],
    );
  });
}

const minimal = `
description: One host.
hosts: { alice: { disks: { a: 512MiB } } }
config: { "twofold:node": { name: alice, options: { alias: x } }, "twofold:hosts": { alice: { site: attic } } }
`;

test("set-up adds what only it knows and keeps what the lab file says", (t) => {
  const file = parseLabFile(minimal, "x.yaml");
  const config = stackConfig(file, factsFor(file));
  t.deepEqual(config["twofold:hosts"], {
    alice: {
      site: "attic",
      address: "127.0.0.1",
      port: 20000,
      hostKey: keyOf(0),
      identityFile: "/labs/lab/operator_ed25519",
      peerAddress: "alice",
      peerPort: 22,
    },
  });
  t.deepEqual(config["twofold:node"], {
    name: "alice",
    lightningd: { archive: "/labs/lab/lightningd-lab.tar.xz", sha256: "0".repeat(64) },
    options: { alias: "x", "disable-plugin": "bcli", plugin: "/usr/local/lib/twofold-lab/chain-backend" },
  });
});

test("a salt that is in the config already is kept: secrets in the state were encrypted with it", (t) => {
  t.is(parse(renderStackFile({}, undefined, "v1:new")).encryptionsalt, "v1:new");
  t.is(parse(renderStackFile({}, "encryptionsalt: v1:old\nconfig: {}\n", "v1:new")).encryptionsalt, "v1:old");
});

test("sizes are binary", (t) => {
  t.is(bytesOf("512MiB"), 536_870_912);
  t.is(bytesOf("2GiB"), 2_147_483_648);
});

const broken: [string, string, RegExp][] = [
  ["that is not YAML, with its line", "description: x\nhosts: {", /^lab\.yaml:\d+:\d+ is not YAML/],
  ["with an unknown key, by its name", `${minimal}\ndisk: 1`, /"disk"/],
  ["without hosts", "description: x\nhosts: {}\nconfig: {}", /at least one host/],
  ["with a size in decimal units", minimal.replace("512MiB", "512MB"), /512MiB or 2GiB/],
  ["with a host name that can't be part of a disk's name", minimal.replace("alice: {", "al-ice: {"), /small letter/],
  ["with config of another project", minimal.replace('"twofold:node"', '"aws:region"'), /twofold:node/],
];
for (const [what, source, message] of broken) {
  test(`refuses a lab file ${what}`, (t) => {
    t.throws(() => parseLabFile(source, "lab.yaml"), { message });
  });
}
