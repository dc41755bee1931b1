/** A wallet in PostgreSQL needs a lightningd that was built with libpq. */
import { open } from "node:fs/promises";
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

export function withoutLibpq(program: string): Refusal {
  return new Refusal({
    code: "lightningd-no-libpq",
    what: "this lightningd can't keep its wallet in PostgreSQL",
    received: `${program}, which is not linked with libpq`,
    why: "it was built on a host without PostgreSQL's headers; it would end at its start",
    fix: "install an official release, or build it again where libpq-dev is installed ('./configure' then finds PostgreSQL)",
  });
}
