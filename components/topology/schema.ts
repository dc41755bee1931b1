/**
 * The topology as an operator writes it in the stack's config, as zod schemas.
 *
 * `parseTopology` (parse.ts) is the only reader; `topologySchema` is exported as JSON Schema for editors.
 * What can be said of one value alone stands here; what needs two values is a rule (rules/).
 */
import { z } from "zod";
import { LIGHTNINGD_OPTION, RAID_PROFILES } from "../../scripts/host/contract.ts";
import { scheduleProblem } from "./cron-schedule.ts";
import { hostKeyProblem } from "./host-key.ts";
import { PULUMI_DAY } from "./pulumi-scalar.ts";

const name = z
  .string()
  .regex(
    /^[a-z][a-z0-9-]{0,30}$/,
    "a name of small letters, digits and '-' that begins with a letter, 31 characters at most",
  );
/** Accounts are named after the node ("twofold-witness-NODE"), and useradd(8) takes 32 characters at most. */
const nodeName = z
  .string()
  .regex(
    /^[a-z][a-z0-9-]{0,14}$/,
    "a name of small letters, digits and '-' that begins with a letter, 15 characters at most",
  );
/** Paths end up in fstab(5), crontab(5), systemd units and lightningd's config, whose special characters differ: none is let in. */
const absolutePath = z
  .string()
  .regex(
    /^(?=.{2,200}$)(\/(?!\.{1,2}(\/|$))[A-Za-z0-9._@+:~-]+)+$/,
    "an absolute path of letters, digits and . _ @ + -, without '..', '//' or a '/' at its end",
  );
/** It becomes an argument of ssh(1), so it must not look like one of its options. */
const address = z
  .string()
  .regex(/^[A-Za-z0-9:][A-Za-z0-9.:%_-]{0,252}$/, "a host name or an IP address, without user, port or scheme");
const port = z.int().min(1).max(65535);
/** Pulumi turns an unquoted 2026-11-20 into "2026-11-20 00:00:00 +0000 UTC", and writes it back like that; both are taken. */
const day = z
  .string()
  .regex(/^\d{4}-\d{2}-\d{2}( 00:00:00 \+0000 UTC)?$/, "a day such as 2026-11-20")
  .transform((text) => text.slice(0, 10))
  .pipe(z.iso.date("a day such as 2026-11-20"));
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "64 small hexadecimal digits");
/** Checked whole by {@link scheduleProblem}; the pattern is what editors can do of it. */
const schedule = z
  .string()
  .regex(/^([0-9A-Za-z*,/-]+ +){4}[0-9A-Za-z*,/-]+$/, {
    error: "five cron fields, e.g. '0 0 * * 0' (crontab(5))",
    abort: true,
  })
  .superRefine((text, context) => {
    const problem = scheduleProblem(text);
    if (problem === undefined) return;
    const { what, why, fix } = problem;
    context.addIssue({ code: "custom", message: fix, params: { what, why } });
  });

export const volumeSchema = z.strictObject({
  kind: z.literal("btrfs").describe("The filesystem; only btrfs."),
  profile: z.enum([...RAID_PROFILES, "single"]).describe("BTRFS profile of data and metadata."),
  devices: z.array(z.string()).min(1).describe("Block devices by a stable name: /dev/disk/by-id/…"),
  mount: absolutePath.describe("Mount point."),
  mountOptions: z
    .array(z.string().regex(/^[a-z][a-z0-9_]*(=[A-Za-z0-9:._-]+)?$/, "one mount option, e.g. noatime (btrfs(5))"))
    .default([])
    .describe("Mount options beside those that every volume gets: defaults, autodefrag, nofail and a device timeout."),
  uuid: z
    .uuid()
    .optional()
    .describe(
      "UUID of the filesystem, if it is not the one derived from stack, host and mount: for a volume that was made under another name.",
    ),
  minimumDeviceBytes: z
    .int()
    .min(128 * 2 ** 20)
    .default(512 * 2 ** 20)
    .describe("Smallest device that is accepted, in bytes."),
});

export const hostSchema = z.strictObject({
  address: address.describe("Name or IP address at which this host is reached over SSH from the operator."),
  port: port.default(22).describe("SSH port."),
  user: z
    .string()
    .regex(/^[a-z_][a-z0-9_-]{0,31}$/, "an account name")
    .default("root")
    .describe("SSH user; it must be root (uid 0)."),
  hostKey: z
    .string()
    .regex(/^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa) [A-Za-z0-9+/=]+$/, {
      error: "a public host key, 'ssh-ed25519 AAAA…'",
      abort: true,
    })
    .superRefine((text, context) => {
      const what = hostKeyProblem(text);
      if (what === undefined) return;
      const why = "the host would be refused as a stranger, when it is first dialled";
      context.addIssue({
        code: "custom",
        message: "the whole line of ssh-keyscan, without the host's name in front of it",
        params: { what, why },
      });
    })
    .describe(
      "The host's public SSH key, pinned: ssh-keyscan -t ed25519 ADDRESS, compared with the host's own console.",
    ),
  identityFile: z.string().optional().describe("Private SSH key of the operator. Without it, the SSH agent is asked."),
  peerAddress: address.optional().describe("Address at which the other hosts reach this one, where it differs."),
  peerPort: port.optional().describe("SSH port at which the other hosts reach this one, where it differs."),
  site: name.optional().describe("A word for the place; hosts of one site burn down together."),
  rented: z.boolean().default(false).describe("True where somebody else than the operator can read the host's disks."),
  volume: volumeSchema
    .optional()
    .describe(
      "A volume of this host's own, apart from the node's volume: for the replica that it keeps, or for the data of its members of PostgreSQL and etcd.",
    ),
});

/** One line of lightningd's config file each: a line break would smuggle in another option. */
const optionText = z
  .string()
  .regex(LIGHTNINGD_OPTION.text, "one line without control characters, and without white space at its ends")
  .refine((text) => !PULUMI_DAY.test(text), "the day in quotes: without them Pulumi takes it for a moment");
const optionValue = z.union([optionText, z.number(), z.boolean(), z.array(optionText)], {
  error: "a text of one line, a number, true, false or a list of texts",
});

export const lightningdSchema = z.union([
  z.strictObject({ preinstalled: absolutePath.describe("Path of an installed lightningd, e.g. /usr/bin/lightningd.") }),
  z.strictObject({
    archive: z
      .string()
      .describe("https URL, or a path on the operator's machine, of an archive laid out like the official release."),
    sha256: sha256.describe("The archive's SHA-256."),
  }),
  z.strictObject({
    release: z
      .string()
      .regex(/^v\d{2}\.\d{2}(\.\d+)?$/, "a release tag such as v26.06.6")
      .describe("An official release, fetched and checked on the host."),
    keyFile: z.string().describe("Armoured public key of the release's signer, on the operator's machine."),
    fingerprint: z
      .string()
      .regex(/^[0-9A-F]{40}$/, "40 capital hexadecimal digits")
      .describe("Fingerprint of that key, compared with a source you trust."),
    baseUrl: z.url().optional().describe("Where the release's files lie, if not at the project's own place."),
  }),
]);

export const replicaSchema = z.strictObject({
  host: name.optional().describe("Host that keeps the replica; without it, the node's own host."),
  path: absolutePath.describe("Directory of the replica on that host's own volume, used by nothing else."),
  via: z
    .enum(["local", "sshfs", "nfs"])
    .describe(
      "How the node's host writes to it: to another disk of its own, or to another host over sshfs or NFS. NFS was never run by twofold's makers (README, 'What was not tested'), and is for a private network only.",
    ),
  acceptRented: z
    .boolean()
    .default(false)
    .describe("The replica is not encrypted: accept that a rented host's owner can read it."),
});

export const walletSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("sqlite").describe("The wallet in SQLite files."),
    journalMode: z
      .enum(["wal", "delete"])
      .optional()
      .describe(
        "SQLite journal mode of main and replica. Default: wal, but delete with a replica over NFS (README, 'Why WAL').",
      ),
    replica: replicaSchema
      .optional()
      .describe("The second copy, written by lightningd itself in the same commit; it takes exactly one."),
  }),
  z.strictObject({
    kind: z.literal("postgres").describe("The wallet in a PostgreSQL cluster."),
    members: z.array(name).min(1).describe("Hosts with the data."),
    etcd: z.array(name).min(1).describe("Hosts with the consensus store."),
    synchronousStandbys: z
      .int()
      .min(1)
      .default(1)
      .describe(
        "How many standbys must have flushed a commit before lightningd hears of it; Patroni keeps no more than 1.",
      ),
    acceptWriteStop: z.boolean().default(false).describe("Accept that writes stop when one of two members dies."),
  }),
]);

export const copySchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("channel-backup").describe("Copy of emergency.recover after every channel change."),
    to: name.describe("Host that keeps it."),
  }),
  z.strictObject({
    kind: z.literal("file-copy").describe("Copy of the stopped database: a last resort."),
    to: name.optional().describe("Host that keeps it; without it, the node's own."),
    every: z
      .string()
      .regex(/^[1-9]\d*[hd]$/, "a number of hours or days, e.g. 12h or 1d")
      .describe("How often."),
    keep: z.int().min(1).describe("How many are kept."),
  }),
  z.strictObject({
    kind: z.literal("hsm-secret").describe("The off-host copy of hsm_secret, on paper or encrypted."),
    confirmed: z
      .union([day, z.literal("not-yet")], { error: "a day such as 2026-11-20, or not-yet" })
      .describe("Day on which that copy was read back and compared; not-yet before the first start of a new node."),
  }),
]);

export const nodeSchema = z.strictObject({
  name: nodeName.describe("The node's name; accounts, labels and marks carry it."),
  network: z
    .enum(["bitcoin", "testnet", "testnet4", "signet", "regtest"])
    .describe("Core Lightning's name of the network."),
  host: name.describe("Host that runs lightningd."),
  lightningd: lightningdSchema.describe("Where lightningd comes from: preinstalled, an archive, or a release."),
  options: z
    .record(
      z
        .string()
        .regex(
          LIGHTNINGD_OPTION.name,
          "an option's name, without the leading dashes: small letters and digits, and single '-' between them",
        ),
      optionValue,
    )
    .default({})
    .describe("lightningd options, without the dashes (lightningd-config(5))."),
  volume: volumeSchema.describe("The volume of the lightning directory."),
  directory: absolutePath.optional().describe("Core Lightning's --lightning-dir. Default: 'lightning' on the volume."),
  takeOver: absolutePath
    .optional()
    .describe("An existing lightning directory on the host, moved onto the volume; a symlink is left in its place."),
  wallet: walletSchema.describe("Where the wallet lives: kind sqlite or postgres."),
  witness: z
    .array(name)
    .optional()
    .describe(
      "Hosts that keep the high-water mark of data_version, beside the node's own, which always does. Default: the hosts without a copy of the wallet, else all others.",
    ),
  copies: z.array(copySchema).default([]).describe("Further copies, beside the wallet's own."),
});

export const maintenanceSchema = z.strictObject({
  balance: schedule.default("0 0 * * *").describe("When 'btrfs balance' runs, as cron fields."),
  scrub: schedule.default("0 0 * * 0").describe("When 'btrfs scrub' runs, as cron fields."),
  deviceStats: schedule.default("17 * * * *").describe("When 'btrfs device stats --check' runs, as cron fields."),
});

const alertsSchema = z.strictObject({
  command: absolutePath
    .optional()
    .describe(
      "Program on every host that is told of what is wrong there: the text on its standard input, one line in $TWOFOLD_SUMMARY. Default: the journal and status alone.",
    ),
  repeat: z
    .string()
    .regex(/^([1-9]\d{0,3}m|[1-9]\d{0,2}h|[1-9]d)$/, "a number of minutes, hours or days, e.g. 30m or 1h")
    .default("1h")
    .describe("How long the command is not called again about the same alert while it lasts."),
  replicationLagBytes: z
    .int()
    .min(1)
    .default(16 * 2 ** 20)
    .describe("How far a standby may be behind the primary, in bytes."),
  freePercent: z
    .number()
    .min(0)
    .max(100)
    .default(10)
    .describe("How much of each volume and of the root disk should be free, in percent."),
});

/** An acceptance of a loss: the digest of the change that was accepted, so that it expires with the next one. */
export const acceptSchema = z.strictObject({
  table: z
    .string()
    .regex(/^[0-9a-f]{12}$/)
    .describe("Digest of the one change that this acceptance was given for; the refusal names it."),
  reason: z.string().min(8).describe("Why the loss is accepted, for whoever reads it later."),
});

export const topologySchema = z.strictObject({
  hosts: z.record(name, hostSchema).describe("The hosts, by name."),
  node: nodeSchema.describe("The node."),
  maintenance: maintenanceSchema.prefault({}).describe("When the BTRFS volumes are looked after."),
  alerts: alertsSchema.prefault({}).describe("Who is told of what is wrong on a host."),
  accept: acceptSchema.optional().describe("Acceptance of a change that makes the node survive less than before."),
  allowStandins: z
    .boolean()
    .default(false)
    .describe("Let the stand-in provider plugins work on this stack (scripts/standins/README.md)."),
});

/** A topology after defaults, and the name of its stack, which tells two nodes of one name apart. */
export type Topology = z.output<typeof topologySchema> & { stack: string };
/** A topology as written. */
export type TopologyInput = z.input<typeof topologySchema>;
export type HostSpec = z.output<typeof hostSchema>;
export type VolumeSpec = z.output<typeof volumeSchema>;
export type NodeSpec = z.output<typeof nodeSchema>;
export type ReplicaSpec = z.output<typeof replicaSchema>;
export type WalletSpec = z.output<typeof walletSchema>;
