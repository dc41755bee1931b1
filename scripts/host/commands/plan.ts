import { type Command, expectArguments, parseStageName, printJson, readStdin, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { planDocument } from "../engine.ts";
import { parseDocumentOf } from "../schema.ts";

export const plan: Command = {
  usage: "plan STAGE < DOCUMENT",
  summary: "print as JSON what 'apply' would do now; changes nothing",
  async run(args) {
    expectArguments(plan, args, 1);
    const stage = parseStageName(args[0]);
    requireRoot();
    const document = parseDocumentOf(stage, await readStdin(), "plan");
    printJson(await planDocument(document));
    return EXIT.ok;
  },
};
