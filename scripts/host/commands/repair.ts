import { lastApplied } from "../applied.ts";
import { type Command, expectArguments, printJson, readStdin, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { driftOf } from "../engine.ts";
import { canonicalJson } from "../json.ts";
import { applyUnderLock } from "../run-request.ts";
import { parseDocumentsText } from "../schema.ts";
import { Refusal } from "../stage.ts";

export const repair: Command = {
  usage: "repair < DOCUMENTS",
  summary: "put back what isn't as the documents say, and nothing else",
  async run(args) {
    expectArguments(repair, args, 0);
    requireRoot();
    const documents = parseDocumentsText(await readStdin());
    for (const document of documents) {
      const applied = await lastApplied(document.stage);
      if (applied !== canonicalJson(document)) {
        throw new Refusal({
          code: "HOST-NOT-APPLIED",
          what: `stage ${document.stage} was not applied to this host with these settings`,
          received: applied === undefined ? "no record of this stage" : "a record of other settings",
          why: "repair puts back what was there; a change of the topology needs its preview",
          fix: "run pulumi up",
        });
      }
    }
    const drifts = await Promise.all(documents.map(driftOf));
    // A stage behind the first that drifted may have been out of sight: what lies on a volume that wasn't mounted.
    const first = drifts.findIndex((drift) => drift.length > 0);
    for (const { item, summary } of drifts.flat()) console.log(`drifted: ${item}: ${summary}`);
    if (first >= 0) return applyUnderLock("repair", documents.slice(first));
    printJson({ host: documents[0]?.host ?? "", changed: [] });
    return EXIT.ok;
  },
};
