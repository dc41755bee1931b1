/** Changing the journal mode of a wallet file that nobody has open. */
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { EXIT, LIGHTNINGD, NODE_STATE, type SqliteNodeDocument } from "../contract.ts";
import { syncDirectory } from "../files.ts";
import { otherUsers } from "../gate/processes.ts";
import { run } from "../process.ts";
import { Refusal } from "../stage.ts";
import { readJournalMode, SQLITE_HEADER_BYTES } from "./journal-mode.ts";

/**
 * Sets the declared mode, which the file keeps: lightningd sets none itself. SQLite first brings in what a -wal or -journal of
 * an unclean end holds, as lightningd's own start would.
 * @throws {Refusal} if the file is in use or SQLite can't recover it; the file is then as it was
 */
export async function setJournalMode(path: string, document: SqliteNodeDocument): Promise<void> {
  const wanted = document.wallet.journalMode;
  const pidFile = `${document.directory}/lightningd-${document.network}.pid`;
  const users = await otherUsers(pidFile, [path, `${path}-wal`, `${path}-journal`]);
  const refuse = (received: string, why: string, fix: string): never => {
    throw new Refusal({
      code: "journal-mode",
      what: `the journal mode of ${path} was not changed to ${wanted}`,
      received,
      why,
      fix,
    });
  };
  if (users.length > 0)
    refuse(
      users.map(({ pid, what }) => `process ${pid} ${what}`).join("; "),
      "a mode that changes under a process that has the file open can damage it",
      "stop that process, then run this again",
    );
  // As lightningd's user: files that SQLite makes must not belong to root.
  const sqlite = ["--user", document.user, "--", "sqlite3", "-batch", "-bail", path, `PRAGMA journal_mode=${wanted};`];
  const lock = ["--nonblock", "--conflict-exit-code", `${EXIT.temporary}`, NODE_STATE.startLock];
  const { status, stdout, stderr } = await run("flock", [...lock, "runuser", ...sqlite]);
  if (status === EXIT.temporary)
    refuse(
      `the node's start lock ${NODE_STATE.startLock} is held`,
      "lightningd, its gate or a repair works on the wallet's files",
      `systemctl stop ${LIGHTNINGD.unit}, then run this again`,
    );
  if (status !== 0 || stdout.trim() !== wanted)
    refuse(
      stderr.trim() || `SQLite answered '${stdout.trim()}'`,
      "a wallet that SQLite can't open or recover must be looked at before anything writes to it",
      "see what `./twofold gate` says of it",
    );
  const found = await syncAndReadMode(path);
  if (found !== wanted)
    refuse(
      `its header says '${found}' after SQLite reported success`,
      "the gate would not start a node whose files aren't in the declared mode",
      "check the disk, then run this again",
    );
}

async function syncAndReadMode(path: string) {
  const file = await open(path, "r+");
  try {
    await file.sync();
    const header = Buffer.alloc(SQLITE_HEADER_BYTES);
    const { bytesRead } = await file.read(header, 0, header.length, 0);
    // The change's own rollback journal is gone for good only when its directory is on the disk.
    await syncDirectory(dirname(path));
    return readJournalMode(header.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}
