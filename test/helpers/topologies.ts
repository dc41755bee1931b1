/** Topologies for tests: one that keeps every rule, and ways to change it. */
import { createHash } from "node:crypto";
import { parseShape, parseTopology } from "../../components/topology/parse.ts";
import { formatProblems } from "../../components/topology/problem.ts";
import type { Topology, TopologyInput } from "../../components/topology/schema.ts";

/** What an operator writes, without the namespace; loose, so that a test can write what is wrong. */
// biome-ignore lint/suspicious/noExplicitAny: tests write what no type allows
export type Config = Record<keyof TopologyInput, any>;

/** A public host key, another one for each name. */
export function hostKey(name: string): string {
  const fields = [Buffer.from("ssh-ed25519"), createHash("sha256").update(name).digest()];
  const bytes = fields.flatMap((field) => [Buffer.from([0, 0, 0, field.length]), field]);
  return `ssh-ed25519 ${Buffer.concat(bytes).toString("base64")}`;
}

/** alice with RAID-1, a replica over sshfs on vault, which has a volume of its own, and a third host without a copy. */
export function sshfsConfig(): Config {
  return {
    hosts: {
      alice: { address: "192.0.2.10", hostKey: hostKey("alice"), site: "home" },
      vault: {
        address: "192.0.2.20",
        hostKey: hostKey("vault"),
        site: "office",
        volume: { kind: "btrfs", profile: "single", devices: ["/dev/disk/by-id/usb"], mount: "/srv/replicas" },
      },
      eve: { address: "192.0.2.30", hostKey: hostKey("eve"), site: "cellar" },
    },
    node: {
      name: "alice",
      network: "bitcoin",
      host: "alice",
      lightningd: { archive: "https://example.org/lightningd.tar.xz", sha256: "a".repeat(64) },
      options: { alias: "alice", "bitcoin-rpcconnect": "192.0.2.30" },
      volume: {
        kind: "btrfs",
        profile: "raid1",
        devices: ["/dev/disk/by-id/a", "/dev/disk/by-id/b"],
        mount: "/srv/lightning",
      },
      wallet: { kind: "sqlite", replica: { host: "vault", path: "/srv/replicas/alice", via: "sshfs" } },
      copies: [{ kind: "hsm-secret", confirmed: "2026-11-20" }],
    },
    maintenance: {},
    alerts: {},
    accept: undefined,
    allowStandins: false,
  };
}

/** The same over NFS, in a network of one's own. */
export function nfsConfig(): Config {
  const config = sshfsConfig();
  config.hosts.alice.peerAddress = "10.0.0.10";
  config.hosts.vault.peerAddress = "10.0.0.20";
  config.node.wallet.replica.via = "nfs";
  return config;
}

/** The same with the replica on a second volume of the node's own host. */
export function localConfig(): Config {
  const config = sshfsConfig();
  config.hosts.alice.volume = {
    kind: "btrfs",
    profile: "single",
    devices: ["/dev/disk/by-id/c"],
    mount: "/srv/replica",
  };
  config.node.wallet.replica = { path: "/srv/replica/alice", via: "local" };
  return config;
}

/** RAID-1 alone, on one host. */
export function raidConfig(): Config {
  const config = sshfsConfig();
  config.hosts = { alice: config.hosts.alice };
  config.node.wallet = { kind: "sqlite" };
  return config;
}

/** A PostgreSQL cluster over all three hosts. */
export function postgresConfig(members: string[] = ["alice", "vault", "eve"]): Config {
  const config = sshfsConfig();
  config.node.wallet = { kind: "postgres", members, etcd: ["alice", "vault", "eve"] };
  return config;
}

/** The config as Pulumi keys it. */
export function keyed(config: Config): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(config)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [`twofold:${key}`, value]),
  );
}

/** A topology that may break rules. Throws if its shape is wrong. */
export function shaped(config: Config, stack = "test"): Topology {
  const parsed = parseShape(keyed(config), stack);
  if (!parsed.ok) throw new Error(formatProblems(parsed.problems));
  return parsed.topology;
}

/** A topology that keeps all rules. Throws otherwise. */
export function valid(config: Config, stack = "test"): Topology {
  const parsed = parseTopology(keyed(config), stack);
  if (!parsed.ok) throw new Error(formatProblems(parsed.problems));
  return parsed.topology;
}
