/**
 * What a stage is: facts → plan → apply.
 *
 * *facts* reads the host and changes nothing; its parsers are pure functions of text.
 * *plan* is pure: facts and a document give the list of actions, empty if the host is as desired.
 * *apply* carries out one action and is the only part that changes the host.
 */
import type { Ownership, StageDocument } from "./contract.ts";

/**
 * One managed thing on a host, named `kind:what`: `file:/etc/cron.d/twofold`, `package:btrfs-progs`, `fstab:/srv/lightning`,
 * `mount:/srv/lightning`, `unit:lightningd.service`, `user:bitcoin`. `check` and `repair` speak of items.
 */
export type ItemName = `${string}:${string}`;

interface ActionBase {
  item: ItemName;
  /** One sentence for the operator: what is changed, from what to what. */
  summary: string;
  /** True for what only follows from another action (a restart, a daemon-reload): not drift by itself. */
  consequence?: true;
}

/** Actions every stage may plan; the executor in actions.ts carries them out. */
export type CommonAction = ActionBase &
  (
    | { kind: "install-package"; package: string }
    | { kind: "write-file"; path: string; content: string; ownership: Ownership }
    | { kind: "make-directory"; path: string; ownership: Ownership }
    | { kind: "set-ownership"; path: string; ownership: Ownership }
    | { kind: "make-symlink"; path: string; target: string }
    | { kind: "remove-file"; path: string }
    | { kind: "create-group"; name: string; gid?: number | undefined }
    | { kind: "create-user"; name: string; home: string; shell: string; uid?: number | undefined }
    | { kind: "daemon-reload" }
    | { kind: "enable-unit"; unit: string }
    | { kind: "start-unit"; unit: string }
    | { kind: "stop-unit"; unit: string }
    | { kind: "restart-unit"; unit: string }
  );

/** An action that only its own stage can carry out; `kind` starts with the stage's name: "storage/make-filesystem". */
export type OwnAction = ActionBase & { kind: `${string}/${string}` };

export interface ApplyContext {
  /** Prints one progress line to the operator. */
  progress(line: string): void;
}

/** `A` is the union of the stage's own actions, `never` where the common ones do. */
export interface Stage<D extends StageDocument, F, A extends OwnAction = never> {
  /** Every managed item of the document, in the order in which it is put right. */
  items(document: D): ItemName[];
  readFacts(document: D): Promise<F>;
  /** Pure. Throws {@link Refusal} for what must not be touched. */
  plan(facts: F, document: D): (CommonAction | A)[];
  /** Pure. What the host stands still for although it is as the document says: the next step is the operator's own. */
  awaits?(facts: F, document: D): string | undefined;
  /** Carries out one of the stage's own actions. */
  apply(action: A, document: D, context: ApplyContext): Promise<void>;
  /** Housekeeping after a successful run whose lack is no drift. Changes nothing where there is nothing to tidy. */
  tidy?(): Promise<void>;
}

/**
 * Said before anything is changed: what was wrong, the value received, why it matters, what to do.
 * Source of the four parts: ARCHITECTURE.md, "Failures speak".
 */
export class Refusal extends Error {
  readonly code: string;
  readonly received: string;
  readonly why: string;
  readonly fix: string;
  constructor(parts: { code: string; what: string; received: string; why: string; fix: string }) {
    super(`${parts.code}: ${parts.what}\n  received: ${parts.received}\n  why: ${parts.why}\n  to do: ${parts.fix}`);
    this.name = "Refusal";
    this.code = parts.code;
    this.received = parts.received;
    this.why = parts.why;
    this.fix = parts.fix;
  }
}
