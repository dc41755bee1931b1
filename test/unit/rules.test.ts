import test from "ava";
import fc from "fast-check";
import { parseTopology } from "../../components/topology/parse.ts";
import { checkChange, identityOf } from "../../components/topology/rules/change.ts";
import { checkRules, RULES } from "../../components/topology/rules/index.ts";
import { MINIMUM_DEVICES } from "../../components/topology/rules/raid.ts";
import { RAID_PROFILES } from "../../scripts/host/contract.ts";
import {
  type Config,
  hostKey,
  keyed,
  localConfig,
  nfsConfig,
  postgresConfig,
  raidConfig,
  shaped,
  sshfsConfig,
  valid,
} from "../helpers/topologies.ts";

/** One way to break a rule: what is changed, and the places that the rule then names. */
interface Breach {
  code: string;
  title: string;
  paths: string[];
  config?: () => Config;
  change: (config: Config) => void;
}

const disks = (...names: string[]) => names.map((name) => `/dev/disk/by-id/${name}`);

const BREACHES: Breach[] = [
  // hosts
  {
    code: "HOST_UNKNOWN",
    title: "a node on a host that is not declared",
    paths: ["twofold:node.host"],
    change: (c) => {
      c.node.host = "alcie";
    },
  },
  {
    code: "HOST_UNKNOWN",
    title: "a replica on a host that is not declared",
    paths: ["twofold:node.wallet.replica.host"],
    change: (c) => {
      c.node.wallet.replica.host = "volt";
    },
  },
  {
    code: "HOST_UNKNOWN",
    title: "a witness on a host that is not declared",
    paths: ["twofold:node.witness[1]"],
    change: (c) => {
      c.node.witness = ["eve", "mallory"];
    },
  },
  {
    code: "HOST_UNKNOWN",
    title: "members and etcd on hosts that are not declared",
    paths: ["twofold:node.wallet.members[0]", "twofold:node.wallet.etcd[2]"],
    config: postgresConfig,
    change: (c) => {
      c.node.wallet.members[0] = "pg1";
      c.node.wallet.etcd[2] = "pg3";
    },
  },
  {
    code: "HOST_UNKNOWN",
    title: "a copy to a host that is not declared",
    paths: ["twofold:node.copies[1].to"],
    change: (c) => {
      c.node.copies.push({ kind: "channel-backup", to: "nas" });
    },
  },
  {
    code: "HOST_SAME_MACHINE",
    title: "two hosts with one address",
    paths: ["twofold:hosts.vault.address"],
    change: (c) => {
      c.hosts.vault.address = c.hosts.alice.address;
    },
  },
  {
    code: "HOST_SAME_MACHINE",
    title: "two hosts with one host key",
    paths: ["twofold:hosts.eve.hostKey"],
    change: (c) => {
      c.hosts.eve.hostKey = c.hosts.vault.hostKey;
    },
  },
  {
    code: "HOST_PEER_ADDRESS",
    title: "another host at a loopback address",
    paths: ["twofold:hosts.vault.peerAddress"],
    change: (c) => {
      c.hosts.vault.address = "127.0.0.1";
      c.hosts.vault.port = 2222;
    },
  },
  // volumes
  {
    code: "VOLUME_MOUNT_RESERVED",
    title: "a volume over /var",
    paths: ["twofold:node.volume.mount"],
    change: (c) => {
      c.node.volume.mount = "/var";
    },
  },
  {
    code: "VOLUME_MOUNT_RESERVED",
    title: "a volume inside /tmp",
    paths: ["twofold:node.volume.mount"],
    change: (c) => {
      c.node.volume.mount = "/tmp/lightning";
    },
  },
  {
    code: "VOLUME_MOUNT_RESERVED",
    title: "a volume inside root's home",
    paths: ["twofold:node.volume.mount"],
    change: (c) => {
      c.node.volume.mount = "/root/lightning";
    },
  },
  {
    code: "VOLUME_MOUNT_RESERVED",
    title: "a volume over twofold's own state",
    paths: ["twofold:hosts.vault.volume.mount"],
    change: (c) => {
      c.hosts.vault.volume.mount = "/var/lib/twofold";
    },
  },
  {
    code: "VOLUME_MOUNT_RESERVED",
    title: "a volume over what the packages of the cluster keep there",
    paths: ["twofold:hosts.vault.volume.mount"],
    config: postgresConfig,
    change: (c) => {
      c.hosts.vault.volume.mount = "/var/lib/postgresql";
    },
  },
  {
    code: "VOLUME_MOUNT_NESTED",
    title: "a volume inside another one",
    paths: ["twofold:hosts.alice.volume.mount"],
    config: localConfig,
    change: (c) => {
      c.hosts.alice.volume.mount = "/srv/lightning/replica";
    },
  },
  {
    code: "VOLUME_MOUNT_NESTED",
    title: "two volumes at one place",
    paths: ["twofold:hosts.alice.volume.mount"],
    config: localConfig,
    change: (c) => {
      c.hosts.alice.volume.mount = "/srv/lightning";
    },
  },
  {
    code: "VOLUME_UUID_SHARED",
    title: "two volumes with one UUID",
    paths: ["twofold:hosts.vault.volume.uuid"],
    change: (c) => {
      c.node.volume.uuid = "8d1f1ac5-9ba5-4c49-a0c6-98a1bb4a9ae1";
      c.hosts.vault.volume.uuid = "8D1F1AC5-9BA5-4C49-A0C6-98A1BB4A9AE1";
    },
  },
  {
    code: "VOLUME_NODATACOW",
    title: "a volume without checksums",
    paths: ["twofold:node.volume.mountOptions[1]"],
    change: (c) => {
      c.node.volume.mountOptions = ["noatime", "nodatacow"];
    },
  },
  {
    code: "VOLUME_DEGRADED",
    title: "a volume that mounts with a disk missing",
    paths: ["twofold:node.volume.mountOptions[0]"],
    change: (c) => {
      c.node.volume.mountOptions = ["degraded"];
    },
  },
  {
    code: "VOLUME_MOUNT_OPTION",
    title: "a volume without write barriers",
    paths: ["twofold:node.volume.mountOptions[0]"],
    change: (c) => {
      c.node.volume.mountOptions = ["nobarrier"];
    },
  },
  {
    code: "VOLUME_MOUNT_OPTION",
    title: "a volume in rescue mode, with a value",
    paths: ["twofold:node.volume.mountOptions[0]"],
    change: (c) => {
      c.node.volume.mountOptions = ["rescue=all"];
    },
  },
  ...(
    [
      ["without what every volume gets", ["noautodefrag"], [0]],
      ["with two ways to keep access times", ["noatime", "compress=zstd", "relatime"], [2]],
      ["for solid-state disks and for none", ["nossd", "ssd_spread"], [1]],
      ["with devices and without", ["nodev", "dev"], [1]],
    ] as const
  ).map(([title, mountOptions, places]) => ({
    code: "VOLUME_MOUNT_CONTRADICTION",
    title: `a volume ${title}`,
    paths: places.map((place) => `twofold:node.volume.mountOptions[${place}]`),
    change: (c: Config) => {
      c.node.volume.mountOptions = [...mountOptions];
    },
  })),
  // RAID
  {
    code: "RAID_TOO_FEW_DEVICES",
    title: "raid1 with one device",
    paths: ["twofold:node.volume.devices"],
    change: (c) => {
      c.node.volume.devices = disks("a");
    },
  },
  {
    code: "RAID_SINGLE_DEVICES",
    title: "several devices without RAID",
    paths: ["twofold:hosts.vault.volume.devices"],
    change: (c) => {
      c.hosts.vault.volume.devices = disks("a", "b");
    },
  },
  {
    code: "RAID_UNSTABLE_NAME",
    title: "a device by a name that can go to another disk",
    paths: ["twofold:node.volume.devices[1]"],
    change: (c) => {
      c.node.volume.devices[1] = "/dev/sdb";
    },
  },
  {
    code: "RAID_UNSTABLE_NAME",
    title: "a filesystem's name instead of a disk's",
    paths: ["twofold:node.volume.devices[0]"],
    change: (c) => {
      c.node.volume.devices[0] = "/dev/disk/by-uuid/1234";
    },
  },
  {
    code: "RAID_SAME_DISK",
    title: "a device that is named twice",
    paths: ["twofold:node.volume.devices[1]"],
    change: (c) => {
      c.node.volume.devices = disks("a", "a");
    },
  },
  {
    code: "RAID_SAME_DISK",
    title: "two partitions of one disk",
    paths: ["twofold:node.volume.devices[1]"],
    change: (c) => {
      c.node.volume.devices = disks("ata-X-part1", "ata-X-part3");
    },
  },
  // wallet
  {
    code: "WALLET_PATH_CHARACTER",
    title: "a mount point with ':'",
    paths: ["twofold:node.volume.mount"],
    change: (c) => {
      c.node.volume.mount = "/srv/a:b";
    },
  },
  {
    code: "WALLET_PATH_CHARACTER",
    title: "a replica path with ':'",
    paths: ["twofold:node.wallet.replica.path"],
    change: (c) => {
      c.node.wallet.replica.path = "/srv/replicas/a:b";
    },
  },
  {
    code: "WALLET_PATH_CHARACTER",
    title: "a replica path with '~'",
    paths: ["twofold:node.wallet.replica.path"],
    change: (c) => {
      c.node.wallet.replica.path = "/srv/replicas/~alice";
    },
  },
  {
    code: "NODE_DIRECTORY_OFF_VOLUME",
    title: "a lightning directory beside the volume",
    paths: ["twofold:node.directory"],
    change: (c) => {
      c.node.directory = "/srv/lightning2/x";
    },
  },
  {
    code: "NODE_DIRECTORY_OFF_VOLUME",
    title: "the mount point as lightning directory",
    paths: ["twofold:node.directory"],
    change: (c) => {
      c.node.directory = "/srv/lightning";
    },
  },
  {
    code: "TAKEOVER_PLACE",
    title: "taking over a directory on the volume",
    paths: ["twofold:node.takeOver"],
    change: (c) => {
      c.node.takeOver = "/srv/lightning/old";
    },
  },
  {
    code: "TAKEOVER_PLACE",
    title: "taking over a directory with the volume in it",
    paths: ["twofold:node.takeOver"],
    change: (c) => {
      c.node.takeOver = "/srv";
    },
  },
  ...["/root", "/home", "/etc", "/etc/lightning", "/var/lib", "/var/lib/twofold/node"].map((takeOver) => ({
    code: "TAKEOVER_RESERVED",
    title: `taking over ${takeOver}`,
    paths: ["twofold:node.takeOver"],
    change: (c: Config) => {
      c.node.takeOver = takeOver;
    },
  })),
  {
    code: "TAKEOVER_NETWORK_DIRECTORY",
    title: "taking over one network's directory",
    paths: ["twofold:node.takeOver"],
    change: (c) => {
      c.node.takeOver = "/home/bitcoin/.lightning/bitcoin";
    },
  },
  {
    code: "WALLET_ONE_COPY",
    title: "one disk without a replica",
    paths: ["twofold:node.volume.profile"],
    config: raidConfig,
    change: (c) => {
      c.node.volume = { ...c.node.volume, profile: "single", devices: disks("a") };
    },
  },
  {
    code: "WALLET_ONE_COPY",
    title: "one disk with a last-resort copy alone",
    paths: ["twofold:node.volume.profile"],
    config: raidConfig,
    change: (c) => {
      c.node.volume = { ...c.node.volume, profile: "single", devices: disks("a") };
      c.node.copies.push({ kind: "file-copy", every: "1d", keep: 7 });
    },
  },
  {
    code: "LIGHTNINGD_ARCHIVE_URL",
    title: "an archive over http",
    paths: ["twofold:node.lightningd.archive"],
    change: (c) => {
      c.node.lightningd.archive = "http://example.org/lightningd.tar.xz";
    },
  },
  {
    code: "LIGHTNINGD_ARCHIVE_URL",
    title: "a release over ftp",
    paths: ["twofold:node.lightningd.baseUrl"],
    change: (c) => {
      c.node.lightningd = {
        release: "v26.06.6",
        keyFile: "key.asc",
        fingerprint: "A".repeat(40),
        baseUrl: "ftp://example.org/x",
      };
    },
  },
  // replica
  {
    code: "REPLICA_HOST",
    title: "a local replica on another host",
    paths: ["twofold:node.wallet.replica.host"],
    change: (c) => {
      c.node.wallet.replica.via = "local";
    },
  },
  {
    code: "REPLICA_HOST",
    title: "a replica over sshfs on the node's own host",
    paths: ["twofold:node.wallet.replica.host"],
    config: localConfig,
    change: (c) => {
      c.node.wallet.replica.via = "sshfs";
    },
  },
  {
    code: "REPLICA_VOLUME",
    title: "a replica's host without a volume",
    paths: ["twofold:hosts.vault.volume"],
    change: (c) => {
      delete c.hosts.vault.volume;
    },
  },
  {
    code: "REPLICA_VOLUME",
    title: "a replica outside its host's volume",
    paths: ["twofold:node.wallet.replica.path"],
    change: (c) => {
      c.node.wallet.replica.path = "/srv/other/alice";
    },
  },
  {
    code: "REPLICA_VOLUME",
    title: "a replica that is the mount point itself",
    paths: ["twofold:node.wallet.replica.path"],
    change: (c) => {
      c.node.wallet.replica.path = "/srv/replicas";
    },
  },
  {
    code: "REPLICA_INSIDE_MAIN",
    title: "a replica in main's directory",
    paths: ["twofold:node.wallet.replica.path"],
    config: localConfig,
    change: (c) => {
      c.node.wallet.replica.path = "/srv/lightning/lightning/bitcoin/copy";
    },
  },
  {
    code: "REPLICA_ON_MAIN_DEVICE",
    title: "a replica on one of main's disks",
    paths: ["twofold:hosts.alice.volume.devices[0]"],
    config: localConfig,
    change: (c) => {
      c.hosts.alice.volume.devices = disks("b");
    },
  },
  {
    code: "REPLICA_ON_MAIN_DEVICE",
    title: "a replica on another partition of main's disk",
    paths: ["twofold:hosts.alice.volume.devices[0]"],
    config: localConfig,
    change: (c) => {
      c.node.volume.devices = disks("a-part1", "b");
      c.hosts.alice.volume.devices = disks("a-part2");
    },
  },
  {
    code: "REPLICA_RENTED",
    title: "an unencrypted replica on a rented host",
    paths: ["twofold:node.wallet.replica.host"],
    change: (c) => {
      c.hosts.vault.rented = true;
    },
  },
  {
    code: "REPLICA_WAL_NFS",
    title: "WAL with a replica over NFS",
    paths: ["twofold:node.wallet.journalMode"],
    change: (c) => {
      c.node.wallet.journalMode = "wal";
      c.node.wallet.replica.via = "nfs";
    },
  },
  {
    code: "REPLICA_NFS_ADDRESS",
    title: "NFS over a public address of the node's host",
    paths: ["twofold:hosts.alice.peerAddress"],
    config: nfsConfig,
    change: (c) => {
      delete c.hosts.alice.peerAddress;
    },
  },
  {
    code: "REPLICA_NFS_ADDRESS",
    title: "NFS to a host by its name, and from another one's zone",
    paths: ["twofold:hosts.alice.peerAddress", "twofold:hosts.vault.peerAddress"],
    config: nfsConfig,
    change: (c) => {
      c.hosts.alice.peerAddress = "fd00::1%eth0";
      c.hosts.vault.peerAddress = "vault.lan";
    },
  },
  // witness
  {
    code: "WITNESS_NONE",
    title: "no witness at all",
    paths: ["twofold:node.witness"],
    change: (c) => {
      c.node.witness = [];
    },
  },
  {
    code: "WITNESS_TWICE",
    title: "a witness named twice",
    paths: ["twofold:node.witness[1]"],
    change: (c) => {
      c.node.witness = ["eve", "eve"];
    },
  },
  {
    code: "WITNESS_TOO_NEAR",
    title: "a witness beside the replica though a third host is there",
    paths: ["twofold:node.witness"],
    change: (c) => {
      c.node.witness = ["vault"];
    },
  },
  {
    code: "WITNESS_TOO_NEAR",
    title: "a witness on the node's host though another is there",
    paths: ["twofold:node.witness"],
    change: (c) => {
      delete c.hosts.eve;
      c.node.witness = ["alice"];
    },
  },
  // options
  {
    code: "OPTION_OWNED",
    title: "an option that twofold sets",
    paths: ["twofold:node.options.wallet", "twofold:node.options.pid-file"],
    change: (c) => {
      c.node.options = { wallet: "sqlite3:///x", "pid-file": "/x" };
    },
  },
  {
    code: "OPTION_SECRET",
    title: "a secret among the options",
    paths: ["twofold:node.options.bitcoin-rpcpassword"],
    change: (c) => {
      c.node.options["bitcoin-rpcpassword"] = "hunter2";
    },
  },
  {
    code: "OPTION_HARMFUL",
    title: "options from an unchecked file",
    paths: ["twofold:node.options.include"],
    change: (c) => {
      c.node.options.include = "/etc/more.conf";
    },
  },
  {
    code: "OPTION_NO_CHANBACKUP",
    title: "turning the channel backup off",
    paths: ["twofold:node.options.disable-plugin"],
    change: (c) => {
      c.node.options["disable-plugin"] = ["bcli", "chanbackup"];
    },
  },
  {
    code: "OPTION_DEVELOPER",
    title: "developer options with real money",
    paths: ["twofold:node.options.developer", "twofold:node.options.dev-no-reconnect"],
    change: (c) => {
      c.node.options = { developer: true, "dev-no-reconnect": true };
    },
  },
  {
    code: "OPTION_FILE_MODE",
    title: "a file mode as a number, which is octal for Pulumi and not for the verbs",
    paths: ["twofold:node.options.rpc-file-mode"],
    change: (c) => {
      c.node.options["rpc-file-mode"] = 0o660;
    },
  },
  {
    code: "OPTION_BACKUP_PLUGIN",
    title: "the SQLite backup plugin with PostgreSQL",
    paths: ["twofold:node.options.important-plugin"],
    config: postgresConfig,
    change: (c) => {
      c.node.options["important-plugin"] = "/opt/plugins/backup/backup.py";
    },
  },
  // copies
  {
    code: "HSM_UNCONFIRMED",
    title: "mainnet without a word about hsm_secret's copy",
    paths: ["twofold:node.copies"],
    change: (c) => {
      c.node.copies = [];
    },
  },
  {
    code: "COPY_NOT_MADE",
    title: "copies that this version does not make",
    paths: ["twofold:node.copies[1]", "twofold:node.copies[2]"],
    change: (c) => {
      c.node.copies.push({ kind: "channel-backup", to: "vault" }, { kind: "file-copy", every: "1d", keep: 7 });
    },
  },
  {
    code: "COPY_SQLITE_ONLY",
    title: "a file copy of a wallet in PostgreSQL",
    paths: ["twofold:node.copies[1]"],
    config: postgresConfig,
    change: (c) => {
      c.node.copies.push({ kind: "file-copy", every: "1d", keep: 7 });
    },
  },
  {
    code: "COPY_ON_NODE_HOST",
    title: "a channel backup to the node's own host",
    paths: ["twofold:node.copies[1].to"],
    change: (c) => {
      c.node.copies.push({ kind: "channel-backup", to: "alice" });
    },
  },
  // PostgreSQL
  {
    code: "PG_MEMBER_COUNT",
    title: "two members without the acceptance",
    paths: ["twofold:node.wallet.members"],
    config: postgresConfig,
    change: (c) => {
      c.node.wallet.members = ["alice", "vault"];
    },
  },
  {
    code: "PG_MEMBER_COUNT",
    title: "four members without the acceptance",
    paths: ["twofold:node.wallet.members"],
    config: postgresConfig,
    change: (c) => {
      c.hosts.dave = { address: "192.0.2.40", hostKey: hostKey("dave") };
      c.node.wallet.members = ["alice", "vault", "eve", "dave"];
    },
  },
  {
    code: "PG_MEMBER_COUNT",
    title: "one member, acceptance or not",
    paths: ["twofold:node.wallet.members"],
    config: postgresConfig,
    change: (c) => {
      c.node.wallet.members = ["alice"];
      c.node.wallet.acceptWriteStop = true;
    },
  },
  {
    code: "PG_STANDBYS",
    title: "more standbys than Patroni waits for when one of them is dead",
    paths: ["twofold:node.wallet.synchronousStandbys"],
    config: postgresConfig,
    change: (c) => {
      c.node.wallet.synchronousStandbys = 2;
      c.node.wallet.acceptWriteStop = true;
    },
  },
  {
    code: "PG_ETCD_COUNT",
    title: "an even number of etcd members",
    paths: ["twofold:node.wallet.etcd"],
    config: postgresConfig,
    change: (c) => {
      c.node.wallet.etcd = ["alice", "vault"];
    },
  },
  {
    code: "PG_SAME_ADDRESS",
    title: "two members on one machine, reached at two ports",
    paths: ["twofold:hosts.eve.address"],
    config: postgresConfig,
    change: (c) => {
      c.hosts.eve.address = c.hosts.vault.address;
      c.hosts.eve.port = 2222;
    },
  },
  {
    code: "PG_HOST_TWICE",
    title: "two members on one host",
    paths: ["twofold:node.wallet.members[2]"],
    config: postgresConfig,
    change: (c) => {
      c.node.wallet.members = ["alice", "vault", "alice"];
    },
  },
];

for (const { code, title, paths, config = sshfsConfig, change } of BREACHES) {
  test(`refuses ${title} (${code})`, (t) => {
    t.deepEqual(
      checkRules(shaped(config())).filter((problem) => problem.code === code),
      [],
    );
    const broken = config();
    change(broken);
    const problems = checkRules(shaped(broken)).filter((problem) => problem.code === code);
    t.deepEqual(problems.map(({ path }) => path).sort(), [...paths].sort());
    for (const { what, received, why, fix } of problems) {
      t.true([what, why, fix].every((part) => part.length > 8) && received.length > 0, JSON.stringify(problems));
    }
  });
}

test("NFS is let through in exactly the networks that nobody has in the internet", (t) => {
  const refused = (address: string) => {
    const config = nfsConfig();
    config.hosts.alice.peerAddress = address;
    return checkRules(shaped(config)).some(({ code }) => code === "REPLICA_NFS_ADDRESS");
  };
  const byte = fc.integer({ min: 0, max: 255 });
  fc.assert(
    fc.property(byte, byte, byte, byte, (a, b, c, d) => {
      const own =
        a === 10 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168) || (a === 100 && b >= 64 && b < 128);
      t.is(refused(`${a}.${b}.${c}.${d}`), !own);
    }),
    {
      examples: [
        [172, 15, 0, 1],
        [172, 16, 0, 1],
        [172, 32, 0, 1],
        [100, 63, 0, 1],
        [100, 127, 0, 1],
        [192, 168, 1, 1],
      ],
    },
  );
  t.false(refused("fd12:3456::1"));
  t.true(refused("2001:db8::1"));
});

test("every rule is broken by a test", (t) => {
  const broken = new Set(BREACHES.map(({ code }) => code));
  t.deepEqual(
    RULES.map(({ code }) => code).filter((code) => !broken.has(code)),
    [],
  );
});

test("every rule has a code of its own", (t) => {
  t.is(new Set(RULES.map(({ code }) => code)).size, RULES.length);
});

for (const [name, config] of Object.entries({ sshfs: sshfsConfig, local: localConfig, raid: raidConfig })) {
  test(`a sound topology breaks no rule: ${name}`, (t) => {
    t.true(parseTopology(keyed(config()), "test").ok);
  });
}

test("a lightning directory in root's home, an account's, or one of its own is taken over", (t) => {
  for (const takeOver of ["/root/.lightning", "/home/bitcoin/.lightning", "/var/lib/lightning", "/mnt/ssd/lightning"]) {
    const config = sshfsConfig();
    config.node.takeOver = takeOver;
    t.deepEqual(checkRules(shaped(config)), [], takeOver);
  }
});

test("a topology that breaks several rules is told all of them", (t) => {
  const config = sshfsConfig();
  config.node.volume.devices = ["/dev/sda", "/dev/sda"];
  config.node.options.wallet = "x";
  const codes = checkRules(shaped(config)).map(({ code }) => code);
  t.deepEqual(codes.sort(), ["OPTION_OWNED", "RAID_SAME_DISK", "RAID_UNSTABLE_NAME", "RAID_UNSTABLE_NAME"]);
});

test("a secret option's value is not shown", (t) => {
  const config = sshfsConfig();
  config.node.options.recover = "abandon abandon about";
  const problems = checkRules(shaped(config));
  t.is(problems.length, 1);
  t.notRegex(JSON.stringify(problems), /abandon/);
});

test("refuses an unknown host with the name that was probably meant", (t) => {
  const config = sshfsConfig();
  config.node.host = "alcie";
  t.regex(checkRules(shaped(config))[0]?.fix ?? "", /write alice/);
});

test("each profile takes its minimum of devices or more, and no fewer", (t) => {
  fc.assert(
    fc.property(fc.constantFrom(...RAID_PROFILES), fc.integer({ min: 1, max: 12 }), (profile, count) => {
      const config = raidConfig();
      config.node.volume = {
        ...config.node.volume,
        profile,
        devices: disks(...Array.from({ length: count }, (_, i) => `d${i}`)),
      };
      const refused = checkRules(shaped(config)).some(({ code }) => code === "RAID_TOO_FEW_DEVICES");
      t.is(refused, count < MINIMUM_DEVICES[profile]);
    }),
  );
});

test("a volume without RAID takes one device, and no more", (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), (count) => {
      const config = sshfsConfig();
      config.hosts.vault.volume.devices = disks(...Array.from({ length: count }, (_, i) => `d${i}`));
      t.is(checkRules(shaped(config)).length, count === 1 ? 0 : 1);
    }),
  );
});

test("partitions are told from the disks that they are on, whatever they are called", (t) => {
  const part = fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 9 }));
  fc.assert(
    fc.property(fc.array(part, { minLength: 2, maxLength: 6 }), (parts) => {
      const config = raidConfig();
      config.node.volume.devices = disks(
        ...parts.map(([disk, number]) => (number === 0 ? `wwn-${disk}` : `wwn-${disk}-part${number}`)),
      );
      const refused = checkRules(shaped(config)).filter(({ code }) => code === "RAID_SAME_DISK").length;
      t.is(refused, parts.length - new Set(parts.map(([disk]) => disk)).size);
    }),
  );
});

test("only an odd number of etcd members, three or more, is taken", (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), (count) => {
      const config = postgresConfig();
      const names = Array.from({ length: count }, (_, index) => `e${index}`);
      for (const [index, name] of names.entries()) {
        config.hosts[name] = { address: `192.0.2.${100 + index}`, hostKey: hostKey(name) };
      }
      config.node.wallet.etcd = names;
      const refused = checkRules(shaped(config)).some(({ code }) => code === "PG_ETCD_COUNT");
      t.is(refused, count < 3 || count % 2 === 0);
    }),
  );
});

test("any number of PostgreSQL members but three with one standby needs the acceptance, and one is never enough", (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 3 }),
      fc.boolean(),
      (count, standbys, accepted) => {
        const config = postgresConfig(Array.from({ length: count }, (_, index) => `m${index}`));
        Object.assign(config.node.wallet, { synchronousStandbys: standbys, acceptWriteStop: accepted });
        const refused = checkRules(shaped(config)).some(({ code }) => code === "PG_MEMBER_COUNT");
        t.is(refused, !(count === 3 && standbys === 1) && !(accepted && count > 1));
      },
    ),
  );
});

const CHANGES: { code: string; title: string; change: (config: Config) => void }[] = [
  {
    code: "CHANGE_NODE_NAME",
    title: "another name for the node",
    change: (c) => {
      c.node.name = "bob";
    },
  },
  {
    code: "CHANGE_NETWORK",
    title: "another network under the node",
    change: (c) => {
      c.node.network = "signet";
    },
  },
  {
    code: "CHANGE_NODE_HOST",
    title: "another host for the node",
    change: (c) => {
      c.node.host = "eve";
    },
  },
  {
    code: "CHANGE_WALLET_KIND",
    title: "another kind of wallet under the node",
    change: (c) => {
      c.node.wallet = postgresConfig().node.wallet;
    },
  },
  {
    code: "CHANGE_DIRECTORY",
    title: "another lightning directory under the node",
    change: (c) => {
      c.node.directory = "/srv/lightning/other";
    },
  },
  {
    code: "CHANGE_DIRECTORY",
    title: "another mount point under the node",
    change: (c) => {
      c.node.volume.mount = "/srv/elsewhere";
    },
  },
];

for (const { code, title, change } of CHANGES) {
  test(`refuses ${title} (${code})`, (t) => {
    const config = sshfsConfig();
    change(config);
    const problems = checkChange(identityOf(valid(sshfsConfig())), shaped(config));
    t.deepEqual(
      problems.map((problem) => problem.code),
      [code],
    );
  });
}

test("a change of devices, profile, options, replica and hosts leaves the node what it is", (t) => {
  const config = raidConfig();
  config.node.volume.profile = "raid1c3";
  config.node.volume.devices = disks("a", "b", "c");
  config.node.options.alias = "another";
  t.deepEqual(checkChange(identityOf(valid(sshfsConfig())), valid(config)), []);
});

/** Hosts enough for any cluster of five. */
function clusterOf(members: string[], etcd = members): Config {
  const config = postgresConfig(members);
  for (const [index, host] of ["alice", "vault", "eve", "dave", "fred"].entries())
    config.hosts[host] ??= { address: `192.0.2.${50 + index}`, hostKey: hostKey(host) };
  config.node.wallet = { kind: "postgres", members, etcd, acceptWriteStop: true };
  return config;
}
const changeOf = (before: Config, after: Config) =>
  checkChange(identityOf(valid(before)), valid(after)).map(({ path }) => path);

test("members come, go and take another one's place one at a time, and etcd's by two where its number changes", (t) => {
  const three = ["alice", "vault", "eve"];
  t.deepEqual(changeOf(clusterOf(three), clusterOf(["alice", "vault", "dave"])), []);
  t.deepEqual(changeOf(clusterOf(three), clusterOf([...three, "dave"], three)), []);
  t.deepEqual(changeOf(clusterOf(three), clusterOf(["alice", "vault"], three)), []);
  t.deepEqual(changeOf(clusterOf(three), clusterOf(three, [...three, "dave", "fred"])), []);
  t.deepEqual(changeOf(clusterOf(three, [...three, "dave", "fred"]), clusterOf(three)), []);
});

test("refuses to change more than one member at once, and says what it was", (t) => {
  const three = ["alice", "vault", "eve"];
  t.deepEqual(changeOf(clusterOf(three), clusterOf(["alice", "dave", "fred"])), [
    "twofold:node.wallet.members",
    "twofold:node.wallet.etcd",
  ]);
  t.deepEqual(changeOf(clusterOf(three), clusterOf([...three, "dave", "fred"], three)), [
    "twofold:node.wallet.members",
  ]);
  const [problem] = checkChange(identityOf(valid(clusterOf(three))), valid(clusterOf(["dave", "fred", "eve"], three)));
  t.is(problem?.code, "CHANGE_PG_MEMBERS");
  t.regex(problem?.received ?? "", /"dave","fred".*it was.*"alice"/);
});

test("an identity that was recorded before members were is no reason to refuse", (t) => {
  const { members, etcd, ...older } = identityOf(valid(postgresConfig()));
  t.deepEqual([members?.length, etcd?.length], [3, 3]);
  t.deepEqual(checkChange(older, valid(clusterOf(["alice", "dave", "fred"]))), []);
});

test("refuses a DSN with a password without showing it", (t) => {
  for (const wallet of ["postgres://alice:hunter2@db/alice", "postgres://db/alice?user=a&password=hunter2"]) {
    const config = postgresConfig();
    config.node.options.wallet = wallet;
    const [problem] = checkRules(shaped(config)).filter(({ path }) => path === "twofold:node.options.wallet");
    t.is(problem?.code, "OPTION_OWNED");
    t.regex(problem?.what ?? "", /password/);
    t.false(JSON.stringify(problem).includes("hunter2"));
  }
});

test("refuses every way to acknowledge before two places have it, and says why", (t) => {
  for (const [key, value] of [
    ["synchronousCommit", "off"],
    ["synchronous_commit", "local"],
    ["synchronousCommit", "remote_write"],
    ["synchronousMode", false],
  ] as const) {
    const config = postgresConfig();
    config.node.wallet[key] = value;
    const parsed = parseTopology(keyed(config), "test");
    t.false(parsed.ok);
    const [problem] = parsed.ok ? [] : parsed.problems;
    t.is(problem?.path, `twofold:node.wallet.${key}`);
    t.regex(`${problem?.what} ${problem?.why}`, /always on.*two places/);
  }
  const none = postgresConfig();
  none.node.wallet.synchronousStandbys = 0;
  t.false(parseTopology(keyed(none), "test").ok);
});

test("a password beside the wallet is not shown either", (t) => {
  const config = postgresConfig();
  config.node.wallet.password = "hunter2";
  const parsed = parseTopology(keyed(config), "test");
  t.false(parsed.ok);
  t.false(JSON.stringify(parsed).includes("hunter2"));
});
