/** The parts of a replica's document that a host of one role has to have. */
import type { ReplicaAccount, ReplicaExport, ReplicaRemote } from "../../../templates/replica.ts";
import type { ReplicaDocument } from "../contract.ts";
import { Refusal } from "../stage.ts";

export function accountOf(document: ReplicaDocument): ReplicaAccount {
  if (document.account) return document.account;
  throw wrongDocument(document, "an account");
}

export function remoteOf(document: ReplicaDocument): ReplicaRemote {
  if (document.remote) return document.remote;
  throw wrongDocument(document, "a remote");
}

export function exportOf(document: ReplicaDocument): ReplicaExport {
  if (document.nfs) return document.nfs;
  throw wrongDocument(document, "the export");
}

function wrongDocument(document: ReplicaDocument, missing: string): Refusal {
  return new Refusal({
    code: "replica-document",
    what: `the replica document of a ${document.role} via ${document.via} has no part that names ${missing}`,
    received: JSON.stringify(document),
    why: "without it nobody knows where the replica lies and who may write it",
    fix: "send documents made by this very version of twofold ('pulumi up' does, and so do the verbs)",
  });
}
