import { type Command, expectArguments, printJson, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { survey } from "../init/survey.ts";

export const initSurvey: Command = {
  usage: "init-survey HOST NODE",
  summary: "print as JSON what of the node exists on this host; 'init' wants the answers of all hosts",
  async run(args) {
    expectArguments(initSurvey, args, 2);
    requireRoot();
    const [host = "", node = ""] = args;
    printJson(await survey(host, node));
    return EXIT.ok;
  },
};
