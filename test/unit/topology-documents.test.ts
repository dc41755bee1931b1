import test from "ava";
import fc from "fast-check";
import { documentsOf } from "../../components/topology/documents.ts";
import { uploadOf, volumesOf, volumeUuid } from "../../components/topology/places.ts";
import type { Topology } from "../../components/topology/schema.ts";
import {
  type DocumentOf,
  RAID_PROFILES,
  type SqliteWalletDocument,
  STAGE_NAMES,
  type StageName,
} from "../../scripts/host/contract.ts";
import { parseDocument } from "../../scripts/host/schema.ts";
import {
  type Config,
  hostKey,
  localConfig,
  nfsConfig,
  postgresConfig,
  raidConfig,
  sshfsConfig,
  valid,
} from "../helpers/topologies.ts";

function documentOf<S extends StageName>(topology: Topology, host: string, stage: S): DocumentOf<S> | undefined {
  return documentsOf(topology)
    .get(host)
    ?.find((document) => document.stage === stage) as DocumentOf<S> | undefined;
}

const with_ = (config: Config, change: (config: Config) => void): Config => {
  change(config);
  return config;
};

test("every host has a document of each stage in which it has a part, in the order of the stages", (t) => {
  const stages = [...documentsOf(valid(sshfsConfig()))].map(([host, documents]) => [
    host,
    documents.map(({ stage }) => stage),
  ]);
  t.deepEqual(stages, [
    ["alice", ["base", "storage", "maintenance", "replica", "witness", "alerts", "lightningd"]],
    ["eve", ["base", "witness", "alerts"]],
    ["vault", ["base", "storage", "maintenance", "replica", "witness", "alerts"]],
  ]);
  for (const [, names] of stages) {
    t.deepEqual(
      names,
      STAGE_NAMES.filter((stage) => names?.includes(stage)),
    );
  }
});

test("a document is plain JSON that says its host, and no undefined hides in it", (t) => {
  for (const config of [sshfsConfig(), localConfig(), raidConfig()]) {
    for (const [host, documents] of documentsOf(valid(config))) {
      for (const document of documents) {
        t.is(document.host, host);
        t.deepEqual(JSON.parse(JSON.stringify(document)), document);
      }
    }
  }
});

test("the host program takes every document as it is", (t) => {
  const declared = with_(sshfsConfig(), (c) => {
    c.node.takeOver = "/home/bitcoin/.lightning";
    c.node.options = { alias: "x", "disable-dns": true, "max-concurrent-htlcs": 30, plugin: ["/a", "/b"] };
    c.node.lightningd = { release: "v26.06.6", keyFile: "k.asc", fingerprint: "A".repeat(40) };
  });
  for (const config of [sshfsConfig(), nfsConfig(), localConfig(), raidConfig(), declared]) {
    for (const documents of documentsOf(valid(config)).values()) {
      for (const document of documents) t.deepEqual(parseDocument(document), document);
    }
  }
});

test("the same topology gives the same documents, in whatever order its hosts are written", (t) => {
  const reversed = with_(sshfsConfig(), (c) => {
    c.hosts = Object.fromEntries(Object.entries(c.hosts).reverse());
  });
  t.is(JSON.stringify([...documentsOf(valid(reversed))]), JSON.stringify([...documentsOf(valid(sshfsConfig()))]));
});

test("the base stage knows which host runs the node", (t) => {
  const nodes = ["alice", "vault"].map((host) => documentOf(valid(sshfsConfig()), host, "base")?.node);
  t.deepEqual(nodes, ["alice", undefined]);
});

test("a host gets the packages that its stages need, sorted, and no others", (t) => {
  const packages = (config: Config, host: string) => documentOf(valid(config), host, "base")?.packages;
  t.deepEqual(packages(sshfsConfig(), "alice"), [
    "btrfs-progs",
    "ca-certificates",
    "cron",
    "curl",
    "e2fsprogs",
    "libpq5",
    "libsodium23",
    "libsqlite3-0",
    "openssh-client",
    "sqlite3",
    "sshfs",
    "xz-utils",
  ]);
  t.deepEqual(packages(sshfsConfig(), "vault"), ["btrfs-progs", "cron", "e2fsprogs", "sqlite3"]);
  t.deepEqual(packages(sshfsConfig(), "eve"), []);
  const preinstalled = with_(raidConfig(), (c) => {
    c.node.lightningd = { preinstalled: "/usr/bin/lightningd" };
  });
  t.deepEqual(packages(preinstalled, "alice"), [
    "btrfs-progs",
    "cron",
    "e2fsprogs",
    "libpq5",
    "libsodium23",
    "libsqlite3-0",
    "sqlite3",
  ]);
  const release = with_(raidConfig(), (c) => {
    c.node.lightningd = { release: "v26.06.6", keyFile: "k.asc", fingerprint: "A".repeat(40) };
  });
  t.true(["gpg", "gpgv", "curl"].every((name) => packages(release, "alice")?.includes(name)));
  const nfs = (host: string) => packages(nfsConfig(), host)?.filter((name) => /nfs|sshfs/.test(name));
  t.deepEqual([nfs("alice"), nfs("vault"), nfs("eve")], [["nfs-common"], ["nfs-kernel-server"], []]);
});

test("a volume is mounted with the backup document's options, and neither keeps the host from booting nor mounts degraded", (t) => {
  const options = (config: Config) => documentOf(valid(config), "alice", "storage")?.volumes[0]?.options;
  t.is(options(raidConfig()), "defaults,autodefrag,nofail,x-systemd.device-timeout=30s");
  const noatime = with_(raidConfig(), (c) => {
    c.node.volume.mountOptions = ["noatime"];
  });
  t.is(options(noatime), "defaults,autodefrag,noatime,nofail,x-systemd.device-timeout=30s");
});

test("the lightning directory belongs to its account alone, its parents on the volume to root", (t) => {
  const deep = with_(raidConfig(), (c) => {
    c.node.directory = "/srv/lightning/nodes/alice";
  });
  t.deepEqual(documentOf(valid(deep), "alice", "storage")?.volumes[0]?.directories, [
    { path: "/srv/lightning/nodes", owner: "root", group: "root", mode: "0755" },
    { path: "/srv/lightning/nodes/alice", owner: "bitcoin", group: "bitcoin", mode: "0700" },
  ]);
});

test("a directory that is taken over has to hold this network's secret, and the wallet where that is a file", (t) => {
  const taken = (config: Config) =>
    documentOf(
      valid(
        with_(config, (c) => {
          c.node.takeOver = "/home/bitcoin/.lightning";
        }),
      ),
      "alice",
      "storage",
    )?.volumes.find(({ name }) => name === "lightning");
  t.deepEqual(taken(raidConfig())?.takeOver, {
    from: "/home/bitcoin/.lightning",
    to: "/srv/lightning/lightning",
    holds: ["bitcoin/hsm_secret", "bitcoin/lightningd.sqlite3"],
    owner: "bitcoin",
    group: "bitcoin",
    mode: "0700",
  });
  t.deepEqual(taken(postgresConfig())?.takeOver?.holds, ["bitcoin/hsm_secret"]);
  t.deepEqual(
    taken(raidConfig())?.directories,
    documentOf(valid(raidConfig()), "alice", "storage")?.volumes[0]?.directories,
    "the directory is managed as any other once it is there",
  );
});

const lightningVolume = (topology: Topology) => {
  const [volume] = volumesOf(topology, "alice");
  if (volume === undefined) throw new Error("alice has no volume");
  return volume;
};

test("a filesystem's UUID stays when profile, devices or options change", (t) => {
  const uuid = (topology: Topology) => volumeUuid(topology, "alice", lightningVolume(topology));
  const first = uuid(valid(raidConfig(), "one"));
  t.regex(first, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  fc.assert(
    fc.property(fc.constantFrom(...RAID_PROFILES), fc.integer({ min: 4, max: 8 }), (profile, count) => {
      const config = with_(raidConfig(), (c) => {
        Object.assign(c.node.volume, {
          profile,
          devices: Array.from({ length: count }, (_, i) => `/dev/disk/by-id/n${i}`),
          mountOptions: ["noatime"],
        });
      });
      t.is(uuid(valid(config, "one")), first);
    }),
  );
});

test("two stacks, hosts or volumes never share a filesystem's UUID, so that labs can stand on one machine", (t) => {
  const uuids = ["one", "two"].flatMap((stack) =>
    [...documentsOf(valid(localConfig(), stack)).values(), ...documentsOf(valid(sshfsConfig(), stack)).values()]
      .flat()
      .flatMap((document) => (document.stage === "storage" ? document.volumes.map(({ uuid }) => uuid) : [])),
  );
  // In each stack: alice's two volumes and vault's; both topologies have the first and the last.
  t.is(uuids.length, 2 * 5);
  t.is(new Set(uuids).size, 2 * 3);
});

test("a declared UUID is taken as it is", (t) => {
  const config = with_(raidConfig(), (c) => {
    c.node.volume.uuid = "8D1F1AC5-9BA5-4C49-A0C6-98A1BB4A9AE1";
  });
  t.is(documentOf(valid(config), "alice", "storage")?.volumes[0]?.uuid, "8d1f1ac5-9ba5-4c49-a0c6-98a1bb4a9ae1");
});

test("maintenance covers every volume of the host", (t) => {
  t.deepEqual(documentOf(valid(localConfig()), "alice", "maintenance")?.mounts, ["/srv/lightning", "/srv/replica"]);
});

function sqliteWallet(config: Config): SqliteWalletDocument {
  const wallet = documentOf(valid(config), "alice", "lightningd")?.wallet;
  if (wallet?.kind !== "sqlite") throw new Error(`alice's wallet is ${wallet?.kind}`);
  return wallet;
}

test("main and replica have one file name, in directories of their own", (t) => {
  const wallet = (config: Config) => {
    const { main, replica } = sqliteWallet(config);
    return { main, replica: replica?.path };
  };
  t.deepEqual(wallet(raidConfig()), {
    main: "/srv/lightning/lightning/bitcoin/lightningd.sqlite3",
    replica: undefined,
  });
  t.is(wallet(localConfig()).replica, "/srv/replica/alice/lightningd.sqlite3");
  t.is(wallet(sshfsConfig()).replica, "/var/lib/twofold-replica/alice/lightningd.sqlite3");
});

test("a replica over NFS is exported to the node's own address alone, from its volume, and mounted from the other's", (t) => {
  const topology = valid(nfsConfig());
  const [volume] = volumesOf(topology, "vault");
  t.like(documentOf(topology, "vault", "replica"), {
    directory: "/srv/replicas/alice/wallet",
    account: { name: "twofold-replica-alice", chroot: "/srv/replicas/alice" },
    nfs: {
      client: "10.0.0.10",
      volume: { mount: "/srv/replicas", uuid: volume && volumeUuid(topology, "vault", volume) },
    },
  });
  const source = documentOf(topology, "alice", "replica");
  t.like(source?.remote, { address: "10.0.0.20", path: "/srv/replicas/alice/wallet" });
  t.is(source?.nfs, undefined);
  t.is(documentOf(valid(sshfsConfig()), "vault", "replica")?.nfs, undefined);
});

test("WAL is the default, the rollback journal over NFS, and what is declared holds", (t) => {
  const mode = (config: Config) => sqliteWallet(config).journalMode;
  t.is(mode(raidConfig()), "wal");
  t.is(mode(localConfig()), "wal");
  t.is(mode(sshfsConfig()), "wal");
  t.is(mode(nfsConfig()), "delete");
  t.is(
    mode(
      with_(sshfsConfig(), (c) => {
        c.node.wallet.journalMode = "delete";
      }),
    ),
    "delete",
  );
  t.is(
    mode(
      with_(raidConfig(), (c) => {
        c.node.wallet.journalMode = "delete";
      }),
    ),
    "delete",
  );
});

test("source and target of a remote replica speak of the same directory, account and host", (t) => {
  const topology = valid(
    with_(sshfsConfig(), (c) => {
      Object.assign(c.hosts.vault, { peerAddress: "10.0.0.2", peerPort: 2022 });
    }),
  );
  const source = documentOf(topology, "alice", "replica");
  const target = documentOf(topology, "vault", "replica");
  t.is(target?.account?.chroot, "/srv/replicas/alice");
  t.is(target?.directory, `${target?.account?.chroot}${source?.remote?.path}`);
  t.is(source?.remote?.user, target?.account?.name);
  t.like(source?.remote, { host: "vault", address: "10.0.0.2", port: 2022, hostKey: hostKey("vault") });
  t.is(documentOf(topology, "eve", "replica"), undefined);
});

test("an account's name fits into the 32 characters that useradd takes", (t) => {
  const config = with_(sshfsConfig(), (c) => {
    c.node.name = "a".repeat(15);
  });
  const writers = documentOf(valid(config), "vault", "witness")?.writers ?? [];
  t.is(writers.length, 1);
  for (const { account } of writers) t.true(account.length <= 32);
});

test("the mark is kept on the node's host and, of the others, on those without a copy", (t) => {
  const hosts = (config: Config) =>
    documentOf(valid(config), "alice", "lightningd")?.witnesses.map(({ kind, host }) => `${kind} ${host}`);
  t.deepEqual(hosts(sshfsConfig()), ["local alice", "peer eve"]);
  t.deepEqual(
    hosts(
      with_(sshfsConfig(), (c) => {
        delete c.hosts.eve;
      }),
    ),
    ["local alice", "peer vault"],
  );
  t.deepEqual(hosts(raidConfig()), ["local alice"]);
  t.deepEqual(
    hosts(
      with_(sshfsConfig(), (c) => {
        c.node.witness = ["vault", "eve"];
      }),
    ),
    ["local alice", "peer vault", "peer eve"],
  );
});

test("every other host can be asked before a first start, by an account that it has", (t) => {
  const topology = valid(sshfsConfig());
  const peers = documentOf(topology, "alice", "lightningd")?.peers ?? [];
  t.deepEqual(
    peers.map(({ host }) => host),
    ["eve", "vault"],
  );
  for (const { host, user } of peers) {
    t.deepEqual(
      documentOf(topology, host, "witness")?.writers.map(({ account }) => account),
      [user],
    );
  }
  t.is(
    documentOf(topology, "vault", "witness")?.writers[0]?.replica,
    `${documentOf(topology, "vault", "replica")?.directory}/lightningd.sqlite3`,
  );
  t.is(documentOf(topology, "eve", "witness")?.writers[0]?.replica, undefined);
});

test("a file of the operator's machine goes to a place that names its content, and the stage reads it there", (t) => {
  const install = (config: Config) => documentOf(valid(config), "alice", "lightningd")?.install;
  const local = with_(raidConfig(), (c) => {
    c.node.lightningd.archive = "./build/cln.tar.xz";
  });
  const upload = uploadOf(valid(local));
  t.is(upload?.file, "./build/cln.tar.xz");
  t.regex(upload?.remotePath ?? "", /a{64}/);
  t.deepEqual(install(local), { kind: "archive", source: upload?.remotePath ?? "", sha256: "a".repeat(64) });

  t.is(uploadOf(valid(raidConfig())), undefined);
  t.like(install(raidConfig()), { kind: "archive", source: "https://example.org/lightningd.tar.xz" });

  const release = with_(raidConfig(), (c) => {
    c.node.lightningd = { release: "v26.06.6", keyFile: "k.asc", fingerprint: "B".repeat(40) };
  });
  t.like(install(release), {
    kind: "release",
    version: "v26.06.6",
    fingerprint: "B".repeat(40),
    keyFile: uploadOf(valid(release))?.remotePath,
  });
  t.regex((install(release) as { baseUrl: string }).baseUrl, /^https:.*\/v26\.06\.6$/);
});

test("the unit needs the mounts of local volumes, and the gate waits for a remote one", (t) => {
  const mounts = (config: Config) => documentOf(valid(config), "alice", "lightningd")?.mounts;
  t.deepEqual(mounts(sshfsConfig()), ["/srv/lightning"]);
  t.deepEqual(mounts(localConfig()), ["/srv/lightning", "/srv/replica"]);
});
