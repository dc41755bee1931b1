/**
 * Documents as they arrive on a host, checked before anything is read or changed: a document that is not what the contract
 * says must not become a half-done stage. `SchemasAreTheContract` fails to compile if this and contract.ts part.
 */

import * as z from "zod/mini";
import en from "zod/v4/locales/en.js";
import {
  CERTIFICATE_ROLES,
  type DocumentOf,
  RAID_PROFILES,
  STAGE_NAMES,
  type StageDocument,
  type StageName,
} from "./contract.ts";
import { Refusal } from "./stage.ts";

z.config(en());

const text = z.string().check(z.minLength(1));
const path = z.string().check(z.regex(/^\/[^\0\n]*$/, "an absolute path"));
const accountName = z.string().check(z.regex(/^[a-z_][a-z0-9_-]{0,31}$/, "an account name, as useradd(8) takes it"));
const mode = z.string().check(z.regex(/^[0-7]{4}$/, "four octal digits"));
const port = z.int().check(z.minimum(1), z.maximum(65535));
const sha256 = z.string().check(z.regex(/^[0-9a-f]{64}$/, "64 small hexadecimal digits"));
const cronFields = z.string().check(z.regex(/^[^\s%]+( [^\s%]+){4}$/, "five cron fields (crontab(5))"));
const packageName = z.string().check(z.regex(/^[a-z0-9][a-z0-9+.-]+$/, "a Debian package name"));
const unitWord = z.string().check(z.regex(/^[a-z][a-z0-9-]*$/, "small letters, digits and '-'"));

const ownership = { owner: accountName, group: accountName, mode };
const peer = z.strictObject({
  host: text,
  address: text,
  port,
  user: accountName,
  hostKey: text,
  identityFile: path,
});

const base = z.strictObject({
  stage: z.literal("base"),
  host: text,
  packages: z.array(packageName),
  user: z.strictObject({ name: accountName, home: path }),
  node: z.exactOptional(text),
});

const storage = z.strictObject({
  stage: z.literal("storage"),
  host: text,
  volumes: z.array(
    z.strictObject({
      name: unitWord,
      uuid: z.string().check(z.regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, "a UUID in small letters")),
      label: z.string().check(z.regex(/^[^\s/]{1,255}$/, "a filesystem label without spaces and '/'")),
      profile: z.enum([...RAID_PROFILES, "single"]),
      devices: z.array(path).check(z.minLength(1)),
      mount: z.string().check(z.regex(/^(\/[^\s/\\]+)+$/, "an absolute path without white space")),
      options: z.string().check(z.regex(/^\S+$/, "mount options without white space")),
      minimumDeviceBytes: z.int().check(z.positive()),
      directories: z.array(z.strictObject({ path, ...ownership })),
      takeOver: z.exactOptional(z.strictObject({ from: path, to: path, holds: z.array(text), ...ownership })),
    }),
  ),
});

const maintenance = z.strictObject({
  stage: z.literal("maintenance"),
  host: text,
  mounts: z.array(z.string().check(z.regex(/^(\/[^\s/%\\'"]+)+$/, "an absolute path without white space"))),
  balance: cronFields,
  scrub: cronFields,
  deviceStats: cronFields,
});

const replica = z.strictObject({
  stage: z.literal("replica"),
  host: text,
  node: text,
  role: z.enum(["source", "target"]),
  via: z.enum(["local", "sshfs", "nfs"]),
  directory: path,
  remote: z.exactOptional(z.extend(peer, { path })),
  account: z.exactOptional(z.strictObject({ name: accountName, chroot: path })),
  nfs: z.exactOptional(
    z.strictObject({
      client: z.string().check(z.regex(/^[0-9a-fA-F.:]+$/, "an IP address")),
      volume: z.strictObject({ mount: path, uuid: text }),
    }),
  ),
  user: accountName,
  group: accountName,
});

const witness = z.strictObject({
  stage: z.literal("witness"),
  host: text,
  directory: path,
  node: z.exactOptional(z.strictObject({ name: text, user: accountName, group: accountName })),
  writers: z.array(z.strictObject({ node: text, account: accountName, replica: z.exactOptional(path) })),
});

const members = z.array(z.strictObject({ host: text, address: text }));
const identity = z.strictObject({
  role: z.enum(CERTIFICATE_ROLES),
  authority: text,
  commonName: z.string().check(z.regex(/^[A-Za-z0-9.-]{1,64}$/, "letters, digits, '.' and '-', 64 at most")),
  names: z.array(z.string().check(z.regex(/^[A-Za-z0-9.:-]{1,253}$/, "a DNS name or an IP address"))),
});

/** It stands in a unit file, where it has to be one word. */
const mountPoint = z.string().check(z.regex(/^(\/[^\s/%$\\'"]+)+$/, "an absolute path without white space"));

const etcd = z.strictObject({
  stage: z.literal("etcd"),
  host: text,
  cluster: unitWord,
  volume: z.exactOptional(mountPoint),
  members,
  others: z.array(text),
  identity,
});

const roleName = z.string().check(z.regex(/^[a-z][a-z0-9_-]{0,62}$/, "a role's name, as PostgreSQL takes it"));
const postgres = z.strictObject({
  stage: z.literal("postgres"),
  host: text,
  cluster: unitWord,
  volume: z.exactOptional(mountPoint),
  version: z.int(),
  members,
  others: z.array(text),
  etcd: members,
  synchronousStandbys: z.int().check(z.minimum(1)),
  node: z.strictObject({ role: roleName, gateRole: roleName, commonName: text }),
  identity,
});

const alerts = z.strictObject({
  stage: z.literal("alerts"),
  host: text,
  node: text,
  stages: z.array(z.enum(STAGE_NAMES)),
  command: z.exactOptional(path),
  repeatMinutes: z.int().check(z.minimum(1)),
  lagBytes: z.int().check(z.positive()),
  freePercent: z.number().check(z.minimum(0), z.maximum(100)),
});

const retired = z.strictObject({
  stage: z.literal("retired"),
  host: text,
  cluster: unitWord,
  parts: z.array(z.enum(["etcd", "postgres"])),
  members,
  etcd: members,
  synchronousStandbys: z.int().check(z.minimum(1)),
});

const install = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("preinstalled"), path }),
  z.strictObject({ kind: z.literal("archive"), source: text, sha256 }),
  z.strictObject({ kind: z.literal("release"), version: text, baseUrl: text, keyFile: path, fingerprint: text }),
]);

const sqliteWallet = z.strictObject({
  kind: z.literal("sqlite"),
  main: path,
  journalMode: z.enum(["wal", "delete"]),
  replica: z.exactOptional(
    z.strictObject({
      path,
      peek: z.discriminatedUnion("kind", [
        z.strictObject({ kind: z.literal("local") }),
        z.strictObject({ kind: z.literal("peer"), access: peer }),
      ]),
    }),
  ),
});

const postgresWallet = z.strictObject({
  kind: z.literal("postgres"),
  members,
  role: roleName,
  gateRole: roleName,
  synchronousStandbys: z.int().check(z.minimum(1)),
  identity,
});

const lightningd = z.strictObject({
  stage: z.literal("lightningd"),
  host: text,
  node: text,
  network: unitWord,
  install,
  directory: path,
  options: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.array(z.string())])),
  wallet: z.discriminatedUnion("kind", [sqliteWallet, postgresWallet]),
  user: accountName,
  group: accountName,
  mounts: z.array(path),
  witnesses: z.array(
    z.discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("local"), host: text, directory: path }),
      z.strictObject({ kind: z.literal("peer"), host: text, access: peer }),
    ]),
  ),
  peers: z.array(peer),
});

const schemas = { base, storage, maintenance, replica, witness, etcd, postgres, retired, alerts, lightningd };

/** Of one host's identities, for the commands that make and install certificates. */
export const identitySchema = identity;

type Parsed = { [S in StageName]: z.output<(typeof schemas)[S]> };
type Contract = { [S in StageName]: DocumentOf<S> };
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
type Assert<T extends true> = T;
/** Compiles only while each stage's schema gives exactly the contract's type. */
export type SchemasAreTheContract = Assert<Same<Parsed, Contract>>;

function refuse(what: string, received: string, fix: string): never {
  throw new Refusal({
    code: "HOST-DOCUMENT",
    what,
    received,
    why: "a document that isn't understood wholly would be carried out in part",
    fix,
  });
}

const OTHER_VERSION = "send documents made by this very version of twofold ('pulumi up' does, and so do the verbs)";

export function parseDocument(value: unknown): StageDocument {
  const stage = (value as { stage?: unknown } | null)?.stage;
  const schema = STAGE_NAMES.includes(stage as StageName) ? schemas[stage as StageName] : undefined;
  if (schema === undefined) {
    refuse(`unknown stage; known ones: ${STAGE_NAMES.join(", ")}`, JSON.stringify(stage) ?? "nothing", OTHER_VERSION);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => {
    const at = issue.path.join(".") || "document";
    const received = issue.path.reduce<unknown>((inner, key) => (inner as Record<PropertyKey, unknown>)?.[key], value);
    return `${at}: ${issue.message} (${JSON.stringify(received) ?? "nothing"})`;
  });
  refuse(`the document of stage ${stage} is not as the contract says`, problems.join("; "), OTHER_VERSION);
}

function parseJson(input: string): unknown {
  try {
    return JSON.parse(input);
  } catch (error) {
    refuse(
      "what came on stdin is not JSON",
      input.trim() === "" ? "nothing" : `${JSON.stringify(input.slice(0, 60))}: ${(error as Error).message}`,
      "give the document on stdin",
    );
  }
}

/** One document. @throws {Refusal} */
export const parseDocumentText = (input: string): StageDocument => parseDocument(parseJson(input));

/** The document of the stage that a command names. @throws {Refusal} if it is no document, or another stage's */
export function parseDocumentOf(stage: StageName, input: string, command: string): StageDocument {
  const document = parseDocumentText(input);
  if (document.stage === stage) return document;
  throw new Refusal({
    code: "HOST-DOCUMENT",
    what: "the document belongs to another stage",
    received: `${document.stage}, for '${command} ${stage}'`,
    why: "one of the two is not what was meant",
    fix: "give the stage's own document",
  });
}

/** An array of documents of one host. @throws {Refusal} */
export function parseDocumentsText(input: string): StageDocument[] {
  const value = parseJson(input);
  if (!Array.isArray(value)) refuse("documents come as a JSON array", typeof value, "put the documents into an array");
  return value.map(parseDocument);
}
