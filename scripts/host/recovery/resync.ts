/** The replica made anew from main, on the root side. */
import type { SqliteNodeDocument } from "../contract.ts";
import { audit } from "../gate/state.ts";
import type { Copied } from "./files.ts";
import { type Say, underStartLock, whileStopped } from "./locked.ts";

/** Stops the node for it and starts it again; `then` runs in between, after the replica is right. */
export async function resync(
  document: SqliteNodeDocument,
  reason: string,
  say: Say,
  then: () => Promise<void> = async () => {},
): Promise<Copied> {
  return whileStopped(say, async () => {
    const copied = JSON.parse(await underStartLock(document, ["repair-work", "resync"])) as Copied;
    await audit("replica written anew from main", { node: document.node, reason, ...copied });
    say(
      `the replica is at data_version ${copied.version}, compared${copied.aside ? `; the former one is kept in ${copied.aside}` : ""}`,
    );
    await then();
    return copied;
  });
}
