import { type Command, expectArguments, printJson, readStdin, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { type Drift, driftOf } from "../engine.ts";
import { currentHolder, type Holder } from "../run-request.ts";
import { parseDocumentsText } from "../schema.ts";
import { stageOf } from "../stages.ts";

/** What `check` prints, as one line of JSON. */
export interface CheckReport {
  host: string;
  /** How many items were looked at. */
  items: number;
  /** One entry an item that isn't as it should be. */
  drift: Drift[];
  /** A run that is changing this host right now; drift may be its work in progress. */
  running?: Pick<Holder, "title" | "since">;
}

export const check: Command = {
  usage: "check < DOCUMENTS",
  summary: "print as JSON which items aren't as the documents say; exit 2 if there are any; changes nothing",
  async run(args) {
    expectArguments(check, args, 0);
    requireRoot();
    const documents = parseDocumentsText(await readStdin());
    const [holder, ...drifts] = await Promise.all([currentHolder(), ...documents.map(driftOf)]);
    const report: CheckReport = {
      host: documents[0]?.host ?? "",
      items: documents.reduce((sum, document) => sum + stageOf(document.stage).items(document).length, 0),
      drift: drifts.flat(),
      ...(holder ? { running: { title: holder.title, since: holder.since } } : {}),
    };
    printJson(report);
    return report.drift.length === 0 ? EXIT.ok : EXIT.drift;
  },
};
