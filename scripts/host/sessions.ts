/**
 * Sessions of an account that other hosts log in with. A key that is taken away lets in nobody new; who is in already stays, and an SFTP session
 * can go on writing for ever.
 */
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

export interface Session {
  pid: number;
  /** The account, if it is one of sshd's own processes: two accounts may share a number. */
  account: string | undefined;
  /** sshd's process that serves SFTP itself, one a session. */
  sftp: boolean;
}

const POLL_MS = 50;
const DEADLINE_MS = 10_000;

/** The real user number in /proc/PID/status (proc_pid_status(5)). */
export function realUid(status: string): number {
  return Number(/^Uid:\s+(\d+)/m.exec(status)?.[1] ?? Number.NaN);
}

/** What sshd says of its process in its title, e.g. "sshd-session: twofold-replica-alice@internal-sftp". */
export function parseTitle(commandLine: string): Pick<Session, "account" | "sftp"> {
  const [, account, what] = /^sshd(?:-session)?: ([^@\s]+)@([^\s\0]+)/.exec(commandLine) ?? [];
  return { account, sftp: what === "internal-sftp" };
}

/** Processes of the account with this number; one that ends meanwhile is none. */
export async function sessionsOf(uid: number): Promise<Session[]> {
  const found = await Promise.all(
    (await readdir("/proc"))
      .filter((name) => /^\d+$/.test(name))
      .map(async (name): Promise<Session | undefined> => {
        const read = (file: string) => readFile(`/proc/${name}/${file}`, "utf8").catch(() => "");
        if (realUid(await read("status")) !== uid) return undefined;
        return { pid: Number(name), ...parseTitle(await read("cmdline")) };
      }),
  );
  return found.filter((session) => session !== undefined);
}

/**
 * Ends the processes of the account with this number that `which` names, one that comes meanwhile too, and waits until they are gone.
 * @returns how many there were
 */
export async function endSessions(uid: number, which: (session: Session) => boolean): Promise<number> {
  if (!(uid > 0)) throw new Error(`sessions of uid ${uid} are not ended: that is no account of twofold's`);
  const ended = new Set<number>();
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const left = (await sessionsOf(uid)).filter(which);
    if (left.length === 0) return ended.size;
    if (Date.now() > deadline)
      throw new Error(
        `sessions of uid ${uid} do not end: ${left.map(({ pid }) => pid).join(", ")}; who holds them can still write to this host`,
      );
    for (const { pid } of left) {
      ended.add(pid);
      try {
        process.kill(pid, "SIGKILL");
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
      }
    }
    await delay(POLL_MS);
  }
}
