/** Carries out the replica stage's own actions. */
import { readFile } from "node:fs/promises";
import type { ReplicaDocument } from "../contract.ts";
import { removeFile, writeFileDurably } from "../files.ts";
import { ROOT_FILE } from "../planning.ts";
import { must, run } from "../process.ts";
import { type ApplyContext, Refusal } from "../stage.ts";
import type { ReplicaAction } from "./actions.ts";
import { ensureKey } from "./key.ts";
import { mountReplica, remountReplica, unmountReplica } from "./mount.ts";

export async function applyReplica(
  action: ReplicaAction,
  document: ReplicaDocument,
  context: ApplyContext,
): Promise<void> {
  switch (action.kind) {
    case "replica/create-account":
      // "*": no password ever fits, and sshd does not take the account for locked, as it would with "!".
      await must("useradd", [
        ...["--system", "--gid", action.name, "--home-dir", action.home, "--no-create-home"],
        ...["--shell", "/usr/sbin/nologin", "--password", "*", action.name],
      ]);
      return;
    case "replica/change-account":
      await must("usermod", ["--home", action.home, "--shell", "/usr/sbin/nologin", action.name]);
      return;
    case "replica/write-sshd":
      return writeSshd(action.path, action.content);
    case "replica/reload-sshd":
      await must("systemctl", ["try-reload-or-restart", "ssh.service"]);
      return;
    case "replica/export":
      await must("exportfs", ["-r"]);
      return;
    case "replica/make-key":
      return ensureKey(action.path, action.comment);
    case "replica/mount":
      return mountReplica(document, context);
    case "replica/remount":
      return remountReplica(document, action.startedAt, context);
    case "replica/unmount":
      return unmountReplica(context);
  }
}

/** An sshd that can't read its config would let nobody in after its next start. */
async function writeSshd(path: string, content: string): Promise<void> {
  const former = await readFile(path, "utf8").catch(() => undefined);
  await writeFileDurably(path, content, ROOT_FILE);
  const { status, stderr } = await run("/usr/sbin/sshd", ["-t"]);
  if (status === 0) return;
  if (former === undefined) await removeFile(path);
  else await writeFileDurably(path, former, ROOT_FILE);
  throw new Refusal({
    code: "replica-sshd",
    what: `sshd can't read its config with ${path}; the file was taken back`,
    received: stderr.trim() || `sshd -t ended with status ${status}`,
    why: "an sshd that can't read its config lets nobody in after its next start",
    fix: "put right what sshd says of its own config, then run this again",
  });
}
