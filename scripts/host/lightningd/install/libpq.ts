/** A wallet in PostgreSQL needs a lightningd that was built with libpq. */
import { open, realpath } from "node:fs/promises";
import { POSTGRES_VERSION } from "../../contract.ts";
import { run } from "../../process.ts";
import { Refusal } from "../../stage.ts";
import { isElf } from "./libraries.ts";

/** Whether a program is linked without PostgreSQL's client library. A script, as the lab daemon is, has its own way. */
export async function lacksLibpq(program: string): Promise<boolean> {
  const file = await open(program, "r").catch(() => undefined);
  if (file === undefined) return false;
  const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0).finally(() => file.close());
  if (!isElf(buffer)) return false;
  const { status, stdout, stderr } = await run("ldd", [program]);
  // A static program is told with status 1 and has no libraries at all.
  if (status !== 0) return /not a dynamic executable|statically linked/.test(stdout + stderr);
  return !stdout.includes("libpq.so");
}

/** Major version of the libpq that a program is started with, by the library's own name (libpq.so.5.17); undefined if it can't be told. */
export async function libpqMajor(program: string): Promise<number | undefined> {
  const { stdout } = await run("ldd", [program]);
  const path = /^\s*libpq\.so\.5 => (\S+) /m.exec(stdout)?.[1];
  const file = path === undefined ? undefined : await realpath(path).catch(() => undefined);
  const major = /\/libpq\.so\.5\.(\d+)$/.exec(file ?? "")?.[1];
  return major === undefined ? undefined : Number(major);
}

/** What to say of a libpq that is not of the servers' version: it works, and Core Lightning advises against it. Pure. */
export function libpqNote(major: number | undefined, server = POSTGRES_VERSION): string | undefined {
  if (major === undefined || major === server) return undefined;
  return `note: lightningd uses libpq ${major}, and the cluster is PostgreSQL ${server}; Core Lightning's backup document advises one version for both, that of one distribution: let the node's host have the members' one`;
}

export function withoutLibpq(program: string): Refusal {
  return new Refusal({
    code: "lightningd-no-libpq",
    what: "this lightningd can't keep its wallet in PostgreSQL",
    received: `${program}, which is not linked with libpq`,
    why: "it was built on a host without PostgreSQL's headers; it would end at its start",
    fix: "install an official release, or build it again where libpq-dev is installed ('./configure' then finds PostgreSQL)",
  });
}
