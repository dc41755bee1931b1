/** What a lightningd that this host ran before twofold came has left where twofold's own files belong. */
import { lastApplied } from "../applied.ts";
import { LIGHTNINGD } from "../contract.ts";
import { type Entry, readEntries } from "../read.ts";
import { Refusal } from "../stage.ts";

/** How templates/lightningd.conf and templates/lightningd.service begin. */
const OURS = "# Written by twofold ";

/** Pure. */
export const isStranger = (entry: Entry | undefined): boolean =>
  entry !== undefined && !(entry.kind === "file" && entry.content?.startsWith(OURS));

/** Paths of config and unit of somebody else's. Where twofold has set up a lightningd already, they are drift like any other. */
export async function readStrangers(): Promise<string[]> {
  if ((await lastApplied("lightningd")) !== undefined) return [];
  const entries = await readEntries([LIGHTNINGD.config, LIGHTNINGD.unitFile]);
  return [...entries].filter(([, entry]) => isStranger(entry)).map(([path]) => path);
}

/** Pure. @throws {Refusal} */
export function refuseStrangers(paths: readonly string[]): void {
  if (paths.length === 0) return;
  throw new Refusal({
    code: "HOST-IN-THE-WAY",
    what: "a lightningd that twofold did not set up has its files where twofold writes its own",
    received: paths.join(", "),
    why: "they would be written over, and the old node's options lost with them",
    fix: `stop that lightningd and disable its unit, bring the options that you need into node.options, ${paths.map((path) => `mv ${path} ${path}.before-twofold`).join(", ")}, and run this again`,
  });
}
