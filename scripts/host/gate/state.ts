/** The node's state on its own host (contract.ts, NODE_STATE): small JSON files that only root's verbs write. */
import { appendFile, open } from "node:fs/promises";
import {
  hasSqliteWallet,
  LIGHTNINGD,
  type LightningdDocument,
  NODE_STATE,
  type SqliteNodeDocument,
} from "../contract.ts";
import { removeFile, writeFileDurably } from "../files.ts";
import { ROOT_FILE } from "../planning.ts";
import { readText } from "../read.ts";
import { parseDocumentText } from "../schema.ts";
import { Refusal } from "../stage.ts";
import type { Degraded, Permission } from "./observed.ts";

/** The node that this host has made or taken over. */
export interface Identity {
  node: string;
  nodeId: string;
  /** Of a wallet in PostgreSQL: the cluster's own name for itself, made by initdb. */
  systemIdentifier?: string;
  /** ISO 8601. */
  since: string;
}

async function readJson<T>(path: string): Promise<T | undefined> {
  const text = await readText(path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new Refusal({
      code: "NODE-STATE",
      what: `${path} is not JSON`,
      received: `${text.slice(0, 60)} (${error instanceof Error ? error.message : error})`,
      why: "it says what an operator has permitted, so a broken one can't be passed over",
      fix: "find out who wrote to it; if it is of no use, remove it and give the permission again",
    });
  }
}

export const readIdentity = () => readJson<Identity>(LIGHTNINGD.identity);
export const readPermission = () => readJson<Permission>(NODE_STATE.permission);
export const readDegraded = () => readJson<Degraded>(NODE_STATE.degraded);

const write = (path: string, value: unknown) => writeFileDurably(path, `${JSON.stringify(value)}\n`, ROOT_FILE);
export const writeIdentity = (value: Identity) => write(LIGHTNINGD.identity, value);
export const writePermission = (value: Permission) => write(NODE_STATE.permission, value);
export const writeDegraded = (value: Degraded) => write(NODE_STATE.degraded, value);
export const forget = (path: (typeof NODE_STATE)[keyof typeof NODE_STATE]) => removeFile(path);

/** Writes down what an operator did that bends a rule. */
export async function audit(event: string, details: Record<string, unknown>): Promise<void> {
  await appendFile(NODE_STATE.audit, `${JSON.stringify({ at: new Date().toISOString(), event, ...details })}\n`, {
    mode: 0o644,
  });
  const file = await open(NODE_STATE.audit, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The same for what only works on files. @throws {Refusal} for a wallet in PostgreSQL */
export async function readSqliteGateDocument(): Promise<SqliteNodeDocument> {
  const document = await readGateDocument();
  if (hasSqliteWallet(document)) return document;
  throw new Refusal({
    code: "WALLET-KIND",
    what: "this verb works on the files of an SQLite wallet",
    received: `node ${document.node}, whose wallet is in ${document.wallet.kind}`,
    why: "the members of a PostgreSQL cluster are copies of one another, kept by the cluster itself",
    fix: "./twofold status shows the members; ./twofold reinit MEMBER makes a standby anew from the primary",
  });
}

/** The node's document, as the lightningd stage has put it on the host. @throws {Refusal} */
export async function readGateDocument(): Promise<LightningdDocument> {
  const text = await readText(LIGHTNINGD.gateDocument);
  if (text === undefined)
    throw new Refusal({
      code: "NO-GATE-DOCUMENT",
      what: `${LIGHTNINGD.gateDocument} is missing`,
      received: "nothing",
      why: "it says which node, copies and witnesses belong together on this host",
      fix: "run pulumi up (or ./twofold repair) for the node's host",
    });
  const document = parseDocumentText(text);
  if (document.stage !== "lightningd")
    throw new Refusal({
      code: "NO-GATE-DOCUMENT",
      what: `${LIGHTNINGD.gateDocument} is not lightningd's`,
      received: `the document of stage ${document.stage}`,
      why: "it says which node, copies and witnesses belong together on this host",
      fix: "run pulumi up (or ./twofold repair) for the node's host",
    });
  return document;
}
