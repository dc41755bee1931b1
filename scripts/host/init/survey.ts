/** What of a node exists on this host, wherever an earlier topology may have put it: `init` needs "nothing" from every host. */
import { lstat } from "node:fs/promises";
import { join } from "node:path";
import { LIGHTNINGD, STAGE_NAMES, STATE_DIRECTORY, type StageDocument } from "../contract.ts";
import { secretFile } from "../gate/observe.ts";
import { readIdentity, readPermission } from "../gate/state.ts";
import { readText } from "../read.ts";
import { parseDocumentText } from "../schema.ts";
import { readMark } from "../witness/store.ts";

export interface Found {
  what: "main" | "replica" | "hsm_secret" | "witness" | "node id";
  path: string;
  /** Further words: a version, a node id. */
  detail?: string;
}

/** What `init-survey` prints. */
export interface Survey {
  host: string;
  found: Found[];
  /** A first start is permitted here and not finished: `init` goes on with it. */
  permission: boolean;
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    // Anything but "not there" (a dead mount, a failing disk) could hide what is looked for.
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR"))
      return false;
    throw error;
  }
}

/** The places where this document, now or when it was last applied, puts something of `node`. Pure. */
export function placesOf(document: StageDocument, node: string): Pick<Found, "what" | "path">[] {
  switch (document.stage) {
    case "lightningd": {
      if (document.node !== node) return [];
      const { wallet } = document;
      if (wallet.kind === "postgres") return [{ what: "hsm_secret", path: secretFile(document) }];
      return [
        { what: "main", path: wallet.main },
        { what: "hsm_secret", path: secretFile(document) },
        ...(wallet.replica?.peek.kind === "local" ? [{ what: "replica" as const, path: wallet.replica.path }] : []),
      ];
    }
    case "witness":
      return document.writers
        .filter((writer) => writer.node === node && writer.replica !== undefined)
        .map((writer) => ({ what: "replica", path: writer.replica ?? "" }));
    default:
      return [];
  }
}

async function lastDocuments(): Promise<StageDocument[]> {
  const texts = await Promise.all([
    readText(LIGHTNINGD.gateDocument),
    ...STAGE_NAMES.map((stage) => readText(join(STATE_DIRECTORY, "documents", `${stage}.json`))),
  ]);
  return texts.filter((text) => text !== undefined).map(parseDocumentText);
}

export async function survey(host: string, node: string): Promise<Survey> {
  const [documents, identity, permission, mark] = await Promise.all([
    lastDocuments(),
    readIdentity(),
    readPermission(),
    readMark(node),
  ]);
  const places = new Map(documents.flatMap((document) => placesOf(document, node)).map((place) => [place.path, place]));
  const found: Found[] = [];
  for (const place of places.values()) if (await exists(place.path)) found.push(place);
  if (identity?.node === node) found.push({ what: "node id", path: LIGHTNINGD.identity, detail: identity.nodeId });
  if (mark.state !== "missing")
    found.push({
      what: "witness",
      path: `the witness of ${node}`,
      detail: mark.state === "mark" ? `data_version ${mark.mark.dataVersion}` : mark.why,
    });
  return { host, found, permission: permission?.node === node };
}
