import { type Command, expectArguments, parseStageName, printJson, readStdin, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { planDocument } from "../engine.ts";
import { parseDocumentText } from "../schema.ts";
import { Refusal } from "../stage.ts";

export const plan: Command = {
  usage: "plan STAGE < DOCUMENT",
  summary: "print as JSON what 'apply' would do now; changes nothing",
  async run(args) {
    expectArguments(plan, args, 1);
    const stage = parseStageName(args[0]);
    requireRoot();
    const document = parseDocumentText(await readStdin());
    if (document.stage !== stage) {
      throw new Refusal({
        code: "HOST-DOCUMENT",
        what: "the document belongs to another stage",
        received: `${document.stage}, for 'plan ${stage}'`,
        why: "one of the two is not what was meant",
        fix: "give the stage's own document",
      });
    }
    printJson(await planDocument(document));
    return EXIT.ok;
  },
};
