/**
 * The topology as an operator writes it in the stack's config, as zod schemas.
 *
 * `parseTopology` (parse.ts) is the only reader; `topologySchema` is exported as JSON Schema for editors.
 * What can be said of one value alone stands here; what needs two values is a rule (rules/).
 */
import { z } from "zod";
import { RAID_PROFILES } from "../../scripts/host/contract.ts";

const name = z
  .string()
  .regex(
    /^[a-z][a-z0-9-]{0,30}$/,
    "a name starts with a small letter and has small letters, digits and '-', 31 at most",
  );
const absolutePath = z
  .string()
  .regex(/^\/(?!.*\/\/)(?!.*(?:^|\/)\.\.?(?:\/|$)).+[^/]$/, "an absolute path without '..', '//' or a '/' at its end");
const port = z.int().min(1).max(65535);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "64 small hexadecimal digits");
const schedule = z.string().regex(/^(\S+\s+){4}\S+$/, "five cron fields, e.g. '0 0 * * 0' (crontab(5))");

export const hostSchema = z.strictObject({
  address: z.string().min(1).describe("Name or IP address at which this host is reached over SSH from the operator."),
  port: port.default(22).describe("SSH port."),
  user: z.string().default("root").describe("SSH user; it must be root (uid 0)."),
  hostKey: z
    .string()
    .regex(
      /^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa) [A-Za-z0-9+/=]+$/,
      "a public host key, 'ssh-ed25519 AAAA…'",
    )
    .describe(
      "The host's public SSH key, pinned: ssh-keyscan -t ed25519 ADDRESS, compared with the host's own console.",
    ),
  identityFile: z.string().optional().describe("Private SSH key of the operator. Without it, the SSH agent is asked."),
  peerAddress: z.string().optional().describe("Address at which the other hosts reach this one, where it differs."),
  peerPort: port.optional().describe("SSH port at which the other hosts reach this one, where it differs."),
  site: name.optional().describe("A word for the place; hosts of one site burn down together."),
  rented: z.boolean().default(false).describe("True where somebody else than the operator can read the host's disks."),
  volume: z
    .lazy(() => volumeSchema)
    .optional()
    .describe("A volume of this host's own, for the replicas that it keeps."),
});

export const volumeSchema = z.strictObject({
  kind: z.literal("btrfs"),
  profile: z.enum([...RAID_PROFILES, "single"]).describe("BTRFS profile of data and metadata."),
  devices: z.array(z.string()).min(1).describe("Block devices by a stable name: /dev/disk/by-id/…"),
  mount: absolutePath.describe("Mount point."),
  minimumDeviceBytes: z
    .int()
    .min(128 * 2 ** 20)
    .default(512 * 2 ** 20)
    .describe("Smallest device that is accepted, in bytes."),
});

const optionValue = z.union([z.string(), z.number(), z.boolean(), z.array(z.string())]);

export const lightningdSchema = z.union([
  z.strictObject({ preinstalled: absolutePath.describe("Path of an installed lightningd, e.g. /usr/bin/lightningd.") }),
  z.strictObject({
    archive: z
      .string()
      .describe("https URL, or a path on the operator's machine, of an archive laid out like the official release."),
    sha256,
  }),
  z.strictObject({
    release: z.string().regex(/^v\d{2}\.\d{2}(\.\d+)?$/, "a release tag such as v26.06.6"),
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
  path: absolutePath.describe("Directory of the replica on that host, used by nothing else."),
  via: z.enum(["local", "sshfs", "nfs"]).describe("How the node's host writes to it."),
  device: z.string().optional().describe("For via: local — the block device, by a stable name, that holds the path."),
  acceptRented: z
    .boolean()
    .default(false)
    .describe("The replica is not encrypted: accept that a rented host's owner can read it."),
});

export const walletSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("sqlite"),
    journalMode: z
      .enum(["wal", "delete"])
      .optional()
      .describe("SQLite journal mode of main and replica. Default: wal (README, 'Why WAL')."),
    replica: replicaSchema.optional(),
  }),
  z.strictObject({
    kind: z.literal("postgres"),
    members: z.array(name).min(1).describe("Hosts with the data."),
    etcd: z.array(name).min(1).describe("Hosts with the consensus store."),
    synchronousStandbys: z.int().min(1).default(1),
    acceptWriteStop: z.boolean().default(false).describe("Accept that writes stop when one of two members dies."),
  }),
]);

export const copySchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("channel-backup"), to: name }),
  z.strictObject({
    kind: z.literal("file-copy"),
    to: name.optional(),
    every: z.string().regex(/^\d+[hd]$/),
    keep: z.int().min(1),
  }),
  z.strictObject({
    kind: z.literal("hsm-secret"),
    confirmed: z.iso.date().describe("Day on which the off-host copy of hsm_secret was confirmed."),
  }),
]);

export const nodeSchema = z.strictObject({
  name,
  network: z.enum(["bitcoin", "testnet", "testnet4", "signet", "regtest"]),
  host: name,
  lightningd: lightningdSchema,
  options: z
    .record(z.string(), optionValue)
    .default({})
    .describe("lightningd options, without the dashes (lightningd-config(5))."),
  volume: volumeSchema,
  directory: absolutePath.optional().describe("Core Lightning's --lightning-dir. Default: 'lightning' on the volume."),
  takeOver: absolutePath
    .optional()
    .describe("An existing lightning directory on the host, moved onto the volume; a symlink is left in its place."),
  wallet: walletSchema,
  witness: z
    .array(name)
    .optional()
    .describe(
      "Hosts that keep the high-water mark of data_version. Default: the hosts other than the node's, else the node's own.",
    ),
  copies: z.array(copySchema).default([]),
});

export const maintenanceSchema = z.strictObject({
  balance: schedule.default("0 0 * * *").describe("When 'btrfs balance' runs, as cron fields."),
  scrub: schedule.default("0 0 * * 0").describe("When 'btrfs scrub' runs, as cron fields."),
  deviceStats: schedule.default("17 * * * *").describe("When 'btrfs device stats --check' runs, as cron fields."),
});

/** An acceptance of a loss: the digest of the table that was accepted, so that it expires with the next change. */
export const acceptSchema = z.strictObject({
  table: z
    .string()
    .regex(/^[0-9a-f]{12}$/)
    .describe("Digest of the survival table that this acceptance was given for (shown by preview)."),
  reason: z.string().min(8),
});

export const topologySchema = z.strictObject({
  hosts: z.record(name, hostSchema),
  node: nodeSchema,
  maintenance: maintenanceSchema.prefault({}),
  accept: acceptSchema.optional(),
  allowStandins: z
    .boolean()
    .default(false)
    .describe("Let the stand-in provider plugins work on this stack (scripts/standins/README.md)."),
});

/** A topology after defaults. */
export type Topology = z.output<typeof topologySchema>;
/** A topology as written. */
export type TopologyInput = z.input<typeof topologySchema>;
export type HostSpec = z.output<typeof hostSchema>;
export type VolumeSpec = z.output<typeof volumeSchema>;
