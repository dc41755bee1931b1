import { parseArgs } from "node:util";
import { type Command, printJson, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { audit, readGateDocument, readIdentity, writeIdentity } from "../gate/state.ts";
import { requireReason } from "../recovery/arguments.ts";
import { underStartLock, WorkFailed, whileStopped } from "../recovery/locked.ts";
import type { Rebuilt } from "../recovery/work.ts";
import { Refusal } from "../stage.ts";
import type { Mark } from "../witness/mark.ts";

/** What `witness-rebuild` prints: the mark that 'witness-replace' takes on the other hosts. */
export interface RebuildReport {
  mark: Mark;
}

function parseLowerTo(text: string | undefined): string[] {
  if (text === undefined) return [];
  if (/^\d+$/.test(text)) return [text];
  throw new Refusal({
    code: "REBUILD-LOWER-TO",
    what: "--lower-to takes main's data_version",
    received: text,
    why: "it says which loss is accepted",
    fix: "give the number that the refusal named",
  });
}

export const witnessRebuild: Command = {
  usage: "witness-rebuild --reason TEXT [--lower-to VERSION]",
  summary:
    "stop the node, compare all copies, make the mark anew from main and write that down; also takes on a wallet that was brought here",
  async run(args) {
    requireRoot();
    const { values } = parseArgs({
      args: [...args],
      options: { reason: { type: "string" }, "lower-to": { type: "string" } },
    });
    const reason = requireReason(values.reason);
    const lowerTo = parseLowerTo(values["lower-to"]);
    const document = await readGateDocument();
    const { node } = document;
    const say = (line: string) => console.error(line);
    try {
      await whileStopped(say, async () => {
        const rebuilt = JSON.parse(
          await underStartLock(document, ["repair-work", "rebuild", reason, ...lowerTo]),
        ) as Rebuilt;
        await audit("witness rebuilt", { node, reason, lowerTo: lowerTo[0], ...rebuilt });
        if ((await readIdentity())?.node !== node)
          await writeIdentity({ node, nodeId: rebuilt.nodeId, since: new Date().toISOString() });
        say(`the witness of ${node} on ${document.host} is at data_version ${rebuilt.dataVersion}`);
        const { nodeId, dataVersion } = rebuilt;
        const at = new Date().toISOString();
        printJson({
          mark: { node, nodeId, dataVersion, exact: true, at, source: `rebuild: ${reason}` },
        } satisfies RebuildReport);
      });
      return EXIT.ok;
    } catch (error) {
      if (error instanceof WorkFailed) return error.status;
      throw error;
    }
  },
};
