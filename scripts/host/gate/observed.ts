/** What the gate sees before a start. Everything in here is plain data, so that every row of the table can be a fixture. */
import type { JournalMode } from "../contract.ts";
import type { ClusterSeen } from "../postgres/wallet/decide.ts";
import type { Mark } from "../witness/mark.ts";

/** One of the wallet's two files as it is on its disk, journals included. */
export type CopyState =
  /** Not to be seen at the moment: its mount is not there, or its host does not answer. */
  | { state: "unreachable"; path: string; why: string }
  /** Its place is there and the file too, and reading it fails: rot that no mirror makes good, or a disk that dies. */
  | { state: "unreadable"; path: string; why: string }
  /** Its directory is there, the file is not. */
  | { state: "absent"; path: string }
  /** No bytes, or a database without a wallet in it, as `init` prepares one. */
  | { state: "blank"; path: string; journalMode: JournalMode | undefined }
  /** SQLite finds it malformed, or it is not a database. */
  | { state: "damaged"; path: string; why: string }
  /** Beside it lies the -wal or -journal of another database; SQLite would make of both a state that never was. */
  | { state: "mixed"; path: string; why: string }
  | {
      state: "wallet";
      path: string;
      /** `vars.data_version` after recovery from its journal. */
      version: number;
      /** Absent until lightningd has claimed the wallet in its first start. */
      nodeId: string | undefined;
      journalMode: JournalMode;
      bytes: number;
    };

/** The forms of hsm_secret since v25.12 (Core Lightning, common/hsm_secret.c, detect_hsm_secret_type). */
export type SecretKind = "plain" | "encrypted" | "mnemonic" | "mnemonic-with-passphrase" | "invalid";

export type SecretState =
  | { state: "absent"; path: string }
  /** Nothing can be said of it at the moment: its disk fails, or lightning-hsmtool could not be run to its end. */
  | { state: "unreachable"; path: string; why: string }
  | {
      state: "present";
      path: string;
      kind: SecretKind;
      /** Four octal digits. */
      mode: string;
      owner: string;
      /** Node id that belongs to the secret; undefined if it is protected by a passphrase or could not be derived. */
      nodeId: string | undefined;
      /** Why there is no node id, in words. */
      why?: string;
    };

export type WitnessState =
  | { host: string; state: "unreachable"; why: string }
  | { host: string; state: "missing" }
  | { host: string; state: "damaged"; why: string }
  | { host: string; state: "mark"; mark: Mark };

/** An operator's permission for the first start of a new node (verb `init`). */
export interface Permission {
  node: string;
  /** ISO 8601. Before `since` and after `expires` the permission is void. */
  since: string;
  expires: string;
}

/** An operator's declaration that the node goes on for a while without something (verb `degrade`). */
export interface Degraded {
  /** "replica": without the replica, and without witnesses that don't answer. "witness": only without those. */
  subject: "replica" | "witness";
  reason: string;
  since: string;
  until: string;
}

/** A copy of the wallet that lies beside main or replica and is neither. */
export interface AsideCopy {
  path: string;
  version: number;
}

export interface Observed {
  node: string;
  journalMode: JournalMode;
  /** The account that has to own hsm_secret. */
  user: string;
  now: string;
  /** Mount points of the document that are not mounted. */
  unmounted: string[];
  /** Where a replica of another host is mounted, undefined if there is none. */
  remoteReplicaMount?: string | undefined;
  /** Other processes that run on this wallet or have it open. */
  others: { pid: number; what: string }[];
  main: CopyState;
  /** Undefined if the topology declares no replica. */
  replica: CopyState | undefined;
  /** Bytes free where the replica lies, undefined if that is not known or not needed. */
  replicaFreeBytes: number | undefined;
  secret: SecretState;
  witnesses: WitnessState[];
  /** Node id that this host has recorded for the node. */
  identity: string | undefined;
  permission: Permission | undefined;
  degraded: Degraded | undefined;
  /** Looked for only if a witness has seen more than main has; the newest first. */
  aside?: AsideCopy[];
  /** Of a wallet in PostgreSQL; `main` is then its database. */
  cluster?: ClusterSeen;
}
