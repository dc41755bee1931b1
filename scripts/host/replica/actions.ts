/** What the replica stage may plan. */
import type { CommonAction, ItemName } from "../stage.ts";

interface Own {
  item: ItemName;
  summary: string;
  consequence?: true;
}

export type ReplicaAction =
  | (Own & { kind: "replica/create-account"; name: string; home: string })
  | (Own & { kind: "replica/change-account"; name: string; home: string })
  /** Writes the drop-in, asks sshd whether it can be read, and puts the former one back if not. */
  | (Own & { kind: "replica/write-sshd"; path: string; content: string })
  | (Own & { kind: "replica/reload-sshd" })
  /** Makes the exports what the files say. */
  | (Own & { kind: "replica/export" })
  | (Own & { kind: "replica/make-key"; path: string; comment: string })
  | (Own & { kind: "replica/mount" })
  /** lightningd is stopped for it, and started again if it ran. Done only while the unit still runs the start at `startedAt`. */
  | (Own & { kind: "replica/remount"; startedAt: number })
  /** Takes the mount away for good; lightningd is stopped for it, and started by its own stage, which comes later. */
  | (Own & { kind: "replica/unmount" });

export type Action = CommonAction | ReplicaAction;

/** Takes away what another way to the replica needed. */
export function planNoFile(entries: ReadonlyMap<string, unknown>, path: string, why: string): CommonAction[] {
  if (entries.get(path) === undefined) return [];
  return [{ kind: "remove-file", item: `file:${path}`, summary: `remove ${path}: ${why}`, path }];
}
