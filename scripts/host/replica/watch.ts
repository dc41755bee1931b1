/**
 * Watches a replica that is mounted over NFS. An NFS client connects again by itself when its server is back, and lightningd would
 * write on without anybody having compared the copies: the server may have come back with an older volume.
 */
import { readFile, stat } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

/** How long a replica that came back can be written to unseen, beside the time that stopping lightningd takes. */
const POLL_MS = 1000;

/**
 * How often the mount at `directory` has connected to its server; undefined if nothing is mounted there over NFS.
 * @param mountstats of /proc/self/mountstats: after each mount's head come its statistics, among them one line a connection,
 * "xprt: tcp PORT BINDS CONNECTS …"
 */
export function connectionsOf(mountstats: string, directory: string): number | undefined {
  let connections: number | undefined;
  let within = false;
  for (const line of mountstats.split("\n")) {
    const head = /^device \S+ mounted on (\S+) with fstype (\S+)/.exec(line);
    if (head !== null) {
      within = head[1] === directory;
      // The last mount at a place lies on top.
      if (within) connections = head[2]?.startsWith("nfs") ? 0 : undefined;
    }
    const [name, kind, , , connects] = line.trim().split(/\s+/);
    if (within && connections !== undefined && name === "xprt:" && kind === "tcp") connections += Number(connects);
  }
  return connections;
}

/** Why the mount is not to be used any more; undefined if it is what it was. */
export function lossOf(first: number | undefined, now: number | undefined): string | undefined {
  if (first === undefined || now === undefined) return "nothing is mounted there over NFS";
  return now === first ? undefined : "the connection to its server was lost and made anew";
}

/** Settles when the mount can't be relied on any more, with the reason. */
export async function watchReplica(directory: string): Promise<string> {
  const read = async () => connectionsOf(await readFile("/proc/self/mountstats", "utf8"), directory);
  const first = await read();
  for (;;) {
    try {
      // Attributes are not cached (actimeo=0), so this asks the server; a server that is gone is an error after a while (soft).
      await stat(directory);
    } catch (error) {
      return `its server does not answer: ${(error as Error).message}`;
    }
    const loss = lossOf(first, await read());
    if (loss !== undefined) return loss;
    await delay(POLL_MS);
  }
}
