/** Host programs of earlier versions, which CopyToRemote never removes. */
import { readdir, readlink, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { PROGRAM_DIRECTORY } from "../contract.ts";
import { CURRENT } from "./facts.ts";

export interface Program {
  name: string;
  /** Time of its copy, in ms. */
  copiedAt: number;
}

/** Pure. All but the current one and the newest of the others, which a process may still be started from. */
export function outdated(programs: readonly Program[], current: string): string[] {
  return programs
    .filter(({ name }) => name !== current)
    .sort((a, b) => b.copiedAt - a.copiedAt)
    .slice(1)
    .map(({ name }) => name);
}

export async function removeOldPrograms(): Promise<void> {
  const names = (await readdir(PROGRAM_DIRECTORY)).filter((name) => /^host-[0-9a-f]{64}\.mjs$/.test(name));
  const programs = await Promise.all(
    names.map(async (name) => ({ name, copiedAt: (await stat(join(PROGRAM_DIRECTORY, name))).mtimeMs })),
  );
  for (const name of outdated(programs, await readlink(CURRENT))) await rm(join(PROGRAM_DIRECTORY, name));
}
