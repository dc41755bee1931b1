/**
 * The contract between the components (which write desired state) and the host program (which reads it).
 *
 * A *document* is the desired state of one stage of one host: plain JSON, fully known at preview, without secrets.
 * It travels as the `stdin` of one `remote.Command`, so a change of topology shows in `pulumi preview --diff` as a
 * structural diff. Add a field only when a stage reads it; never put a secret in one, name it by its path on the host.
 */

/** Stages in the order in which they are applied on one host. */
export const STAGE_NAMES = [
  "base",
  "storage",
  "maintenance",
  "replica",
  "witness",
  "etcd",
  "postgres",
  "retired",
  "alerts",
  "lightningd",
] as const;
export type StageName = (typeof STAGE_NAMES)[number];

/** BTRFS block-group profiles that keep at least two copies (btrfs(5), "PROFILES"). */
export const RAID_PROFILES = ["raid1", "raid1c3", "raid1c4", "raid10"] as const;
export type RaidProfile = (typeof RAID_PROFILES)[number];

/** Ownership and mode of a file or directory on a host; `mode` is four octal digits, e.g. "0750". */
export interface Ownership {
  owner: string;
  group: string;
  mode: string;
}

/** Packages, the service account and the clock. */
export interface BaseDocument {
  stage: "base";
  host: string;
  /** Debian package names that this host's other stages need, sorted. */
  packages: string[];
  /** The system account that runs lightningd, and its primary group of the same name. */
  user: { name: string; home: string };
  /** Name of the node that this host runs, if it does. */
  node?: string;
}

/** One BTRFS filesystem over several devices. */
export interface VolumeDocument {
  /** A word for messages, unique on the host: "lightning", "replica", "database". */
  name: string;
  /** Filesystem UUID, derived from the topology so that it is known before mkfs. */
  uuid: string;
  /** Filesystem label, at most 255 bytes. */
  label: string;
  profile: RaidProfile | "single";
  /** Stable device names, e.g. /dev/disk/by-id/…, in the order of the topology. */
  devices: string[];
  /** Absolute mount point. */
  mount: string;
  /** Options of the fstab entry, comma-separated. */
  options: string;
  /** Smallest device that is accepted, in bytes. */
  minimumDeviceBytes: number;
  /** Directories made on the mounted volume, parents first. */
  directories: ({ path: string } & Ownership)[];
  /** An existing lightning directory to be moved onto the volume; a symlink is left at `from`. It has to hold the files `holds`. */
  takeOver?: { from: string; to: string; holds: string[] } & Ownership;
}

export interface StorageDocument {
  stage: "storage";
  host: string;
  volumes: VolumeDocument[];
}

/** Root's cron entries for every BTRFS volume of the host; results go to the journal. Schedules are cron(5) fields. */
export interface MaintenanceDocument {
  stage: "maintenance";
  host: string;
  mounts: string[];
  balance: string;
  scrub: string;
  deviceStats: string;
}

/** Where lightningd's programs come from. */
export type LightningdInstall =
  | { kind: "preinstalled"; path: string }
  /** `source` is an https URL, or an absolute path on the host to which the components have copied the archive. */
  | { kind: "archive"; source: string; sha256: string }
  /** `keyFile` is the armoured public key on the host; its fingerprint must be `fingerprint`. */
  | { kind: "release"; version: string; baseUrl: string; keyFile: string; fingerprint: string };

/** SQLite journal modes that twofold supports (sqlite.org/pragma.html#pragma_journal_mode). */
export type JournalMode = "wal" | "delete";

/** How a host reaches another one over SSH with a key of its own that can run one forced command. */
export interface PeerAccess {
  host: string;
  address: string;
  port: number;
  user: string;
  /** Public host key, "ssh-ed25519 AAAA…". */
  hostKey: string;
  /** Private key on the connecting host, made there. */
  identityFile: string;
}

/** The second copy of the wallet, written by lightningd itself in the same commit. */
export interface ReplicaDocument {
  stage: "replica";
  host: string;
  node: string;
  /** "source": the node's host, which mounts or owns the path. "target": the host on which the files lie. */
  role: "source" | "target";
  via: "local" | "sshfs" | "nfs";
  /** Directory of the replica as this host sees it. */
  directory: string;
  /** Source only: what to mount, for sshfs and nfs. */
  remote?: PeerAccess & { path: string };
  /** Target only: the account whose directory it is, and the directory above, which is root's. Over sshfs it may do nothing but sftp into it. */
  account?: { name: string; chroot: string };
  /** Target of nfs only: the one address that may mount the directory, and the volume without which it is not exported. */
  nfs?: { client: string; volume: { mount: string; uuid: string } };
  user: string;
  group: string;
}

/** One place that keeps the node's high-water mark of `data_version`. */
export type WitnessPlace =
  | { kind: "local"; host: string; directory: string }
  | { kind: "peer"; host: string; access: PeerAccess };

/** The host's part in keeping high-water marks. */
export interface WitnessDocument {
  stage: "witness";
  host: string;
  /** Directory that holds one directory a node, named like it. */
  directory: string;
  /** The node that runs on this very host: it keeps a mark here too, and its state ({@link NODE_STATE}). */
  node?: { name: string; user: string; group: string };
  /** Nodes of other hosts that may write here, each with an account that can run nothing but the witness command. */
  writers: { node: string; account: string; replica?: string }[];
}

/** A host of the etcd or the PostgreSQL cluster, as the other hosts reach it. */
export interface ClusterMember {
  host: string;
  /** Name or IP address. */
  address: string;
}

/** What a certificate of the cluster is for: a member of etcd, a member of PostgreSQL, or the node as their client. */
export const CERTIFICATE_ROLES = ["etcd", "postgres", "node"] as const;
export type CertificateRole = (typeof CERTIFICATE_ROLES)[number];

/** A key of this host's own, made here, and the certificate that the cluster's authority gives it. */
export interface ClusterIdentity {
  role: CertificateRole;
  /** Host whose key signs the cluster's certificates. */
  authority: string;
  commonName: string;
  /** DNS names and IP addresses of the certificate. */
  names: string[];
}

/** One member of the consensus store in which the PostgreSQL members agree who is primary. */
export interface EtcdDocument {
  stage: "etcd";
  host: string;
  /** The cluster's name: etcd's token, directory names, Patroni's scope. */
  cluster: string;
  /** Mount point of the volume that holds the member's data; without it that is on the root disk. */
  volume?: string;
  members: ClusterMember[];
  /** Declared hosts without a member; one that is being taken out is among them. */
  others: string[];
  identity: ClusterIdentity;
}

/** Debian 13's. One for all members: a standby of another major version can't follow. */
export const POSTGRES_VERSION = 17;

/** One member of the PostgreSQL cluster, kept by Patroni. */
export interface PostgresDocument {
  stage: "postgres";
  host: string;
  cluster: string;
  /** Mount point of the volume that holds the member's data; without it that is on the root disk. */
  volume?: string;
  /** PostgreSQL's major version, one for all members. */
  version: number;
  members: ClusterMember[];
  /** Declared hosts without a member; one that is being taken out is among them. */
  others: string[];
  etcd: ClusterMember[];
  /** Standbys that must have flushed a commit before its writer hears of it. */
  synchronousStandbys: number;
  /** The node's role and database, both of this name, and the common name of its certificate. */
  node: { role: string; gateRole: string; commonName: string };
  identity: ClusterIdentity;
}

/** What this host looks at, and whom it tells of what is wrong. */
export interface AlertsDocument {
  stage: "alerts";
  host: string;
  /** The node's name in the topology. */
  node: string;
  /** Stages of this host of which there is something to look at, by their documents as last applied. */
  stages: StageName[];
  /** Absolute path of the operator's program; the journal and `status` have every alert without it too. */
  command?: string;
  /** Minutes between two calls about one alert. */
  repeatMinutes: number;
  /** Bytes that a standby may be behind. */
  lagBytes: number;
  /** Percent of a filesystem that should be free. */
  freePercent: number;
}

/** A host that has no member, or no longer one: what runs there is taken out of the cluster and stopped, its data is left. */
export interface RetiredDocument {
  stage: "retired";
  host: string;
  cluster: string;
  /** What this host must not be a member of. */
  parts: ("etcd" | "postgres")[];
  /** The members that there are to be. */
  members: ClusterMember[];
  etcd: ClusterMember[];
  synchronousStandbys: number;
}

/** The node's wallet as the gate has to check it. */
export interface SqliteWalletDocument {
  kind: "sqlite";
  /** Absolute path of the main database file. */
  main: string;
  journalMode: JournalMode;
  /** The replica as lightningd sees it; `peek` says how its versions are read without opening the live file. */
  replica?: { path: string; peek: { kind: "local" } | { kind: "peer"; access: PeerAccess } };
}

/** The node's wallet in a PostgreSQL cluster. */
export interface PostgresWalletDocument {
  kind: "postgres";
  members: ClusterMember[];
  /** The node's role, and its database of the same name. */
  role: string;
  /** The role as which the gate and the witness look; it writes nothing. */
  gateRole: string;
  /** Standbys that must have flushed what the primary has, before lightningd reads it. */
  synchronousStandbys: number;
  identity: ClusterIdentity;
}

/** What can be a line of lightningd.conf: the renderer refuses everything else, and so does the topology's schema, which is asked first. */
export const LIGHTNINGD_OPTION = {
  name: /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/,
  /** lightningd cuts white space off at the end of most options and keeps it in others. */
  text: /^(?!\s)[^\p{Cc}]*(?<!\s)$/u,
} as const;

export interface LightningdDocument {
  stage: "lightningd";
  host: string;
  /** The node's name in the topology. */
  node: string;
  /** Core Lightning's network name: bitcoin, testnet, signet, regtest. */
  network: string;
  install: LightningdInstall;
  /** Core Lightning's --lightning-dir. */
  directory: string;
  /** lightningd options from the topology; an array repeats the option, true is a flag. */
  options: Record<string, string | number | boolean | string[]>;
  wallet: SqliteWalletDocument | PostgresWalletDocument;
  user: string;
  group: string;
  /** Paths whose mounts the unit needs (systemd.unit(5), RequiresMountsFor=). */
  mounts: string[];
  witnesses: WitnessPlace[];
  /** Every place that the gate and `init` must ask before a first start: the declared hosts other than this one. */
  peers: PeerAccess[];
}

/** A node by the kind of its wallet. */
export type SqliteNodeDocument = LightningdDocument & { wallet: SqliteWalletDocument };
export type PostgresNodeDocument = LightningdDocument & { wallet: PostgresWalletDocument };

export const hasSqliteWallet = (document: LightningdDocument): document is SqliteNodeDocument =>
  document.wallet.kind === "sqlite";
export const hasPostgresWallet = (document: LightningdDocument): document is PostgresNodeDocument =>
  document.wallet.kind === "postgres";

export type StageDocument =
  | BaseDocument
  | StorageDocument
  | MaintenanceDocument
  | ReplicaDocument
  | WitnessDocument
  | EtcdDocument
  | PostgresDocument
  | RetiredDocument
  | AlertsDocument
  | LightningdDocument;
export type DocumentOf<S extends StageName> = Extract<StageDocument, { stage: S }>;

/** Directory of the host program and its launcher; root-owned, mode 0755. */
export const PROGRAM_DIRECTORY = "/usr/local/lib/twofold";
/** State that must survive a reboot: first-start permission, node identity, documents last applied. */
export const STATE_DIRECTORY = "/var/lib/twofold";
/** On a host of a cluster whose store is being made anew: until that is done nothing else may start a member. */
export const REBUILDING = `${STATE_DIRECTORY}/etcd-rebuild`;
/** Locks, requests and logs of runs; gone at reboot. */
export const RUNTIME_DIRECTORY = "/run/twofold";

/** Where things of the lightningd stage lie on the node's host; read by the gate, `init` and the verbs too. */
export const LIGHTNINGD = {
  unit: "lightningd.service",
  unitFile: "/etc/systemd/system/lightningd.service",
  /** Symlink to the directory that holds the lightningd, lightning-cli and lightning-hsmtool in use. */
  programs: "/opt/twofold/bin",
  config: "/etc/lightningd/lightningd.conf",
  /** The same without the replica: what lightningd is started with in degraded mode. */
  degradedConfig: "/etc/lightningd/lightningd.degraded.conf",
  /** The {@link LightningdDocument}, for the gate. */
  gateDocument: "/etc/twofold/gate.json",
  /** The unit's ExecStart: lock, gate, then lightningd in the same process. */
  startProgram: "/usr/local/lib/twofold/start-lightningd",
  /** Node id that `init` recorded after the first start: from then on `up` starts a node that stands still. */
  identity: `${STATE_DIRECTORY}/identity.json`,
  /** The unit's RuntimeDirectory, kept across restarts. */
  runtimeDirectory: "/run/lightningd",
} as const;

/** State of the node on its own host, for gate, `init` and the repairing verbs; made by the witness stage. */
export const NODE_STATE = {
  /** Root-owned, 0755: what only an operator's verb may change, and the node's user may read. */
  directory: `${STATE_DIRECTORY}/node`,
  /** Held from before the gate's check to the end of lightningd's run, and by every verb that touches the wallet's files. */
  startLock: `${STATE_DIRECTORY}/node/start.lock`,
  permission: `${STATE_DIRECTORY}/node/first-start.json`,
  degraded: `${STATE_DIRECTORY}/node/degraded.json`,
  /** One line of JSON for every repair that bends a rule. */
  audit: `${STATE_DIRECTORY}/node/audit.log`,
} as const;

/** Where things of the alerts stage lie. */
export const ALERTS = {
  /** The {@link AlertsDocument}, for the timer's look. */
  config: "/etc/twofold/alerts.json",
  directory: `${STATE_DIRECTORY}/alerts`,
  /** What lasts, since when, and what the operator's command was told of it. */
  state: `${STATE_DIRECTORY}/alerts/state.json`,
  /** Runs the operator's command, and owns nothing. */
  account: "twofold-alerts",
} as const;

/** Keys and certificates of a cluster; a key never leaves the host on which it was made. */
export const TLS = {
  directory: "/etc/twofold/tls",
  /** The authority's certificate, on every host of the cluster. */
  ca: "/etc/twofold/tls/ca.crt",
  /** On the authority's host alone: its key. */
  authority: "/etc/twofold/ca",
} as const;

/** Where key and certificate of a role lie. */
export function tlsFiles(role: CertificateRole): { key: string; certificate: string } {
  return { key: `${TLS.directory}/${role}.key`, certificate: `${TLS.directory}/${role}.crt` };
}

/** Ports of the cluster's members: etcd's clients and peers (IANA), PostgreSQL, Patroni's REST API. */
export const CLUSTER_PORTS = { etcdClient: 2379, etcdPeer: 2380, postgres: 5432, patroni: 8008 } as const;

/** Holds one directory a node, named like it, with its high-water mark; see {@link WitnessDocument}. */
export const WITNESS_DIRECTORY = `${STATE_DIRECTORY}/witness`;

/** Exit statuses of the host program, shared with the verbs. */
export const EXIT = {
  ok: 0,
  failed: 1,
  /** `check` found drift. */
  drift: 2,
  /** Refused before anything was changed: bad input or a state that must not be touched. */
  refused: 3,
  /** The host program is missing on the host or is another version. */
  otherProgram: 4,
  /** The gate waited long enough for what is transient: systemd asks again (EX_TEMPFAIL of sysexits(3)). */
  temporary: 75,
  /** The gate refused for good: the unit is not restarted on it (EX_CONFIG of sysexits(3), unused by lightningd). */
  gateRefused: 78,
} as const;
