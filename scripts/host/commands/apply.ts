import { type Command, expectArguments, parseStageName, readStdin, requireRoot } from "../command.ts";
import { applyUnderLock } from "../run-request.ts";
import { parseDocumentOf } from "../schema.ts";

/**
 * `MACHINE` names the machine (host key's fingerprint, container id). It is not read here: it stands in the command line so that
 * Pulumi runs the command again when the machine is another one.
 */
export const apply: Command = {
  usage: "apply STAGE MACHINE < DOCUMENT",
  summary: "bring the host to what the document says; safe to repeat, goes on after an interruption",
  async run(args) {
    expectArguments(apply, args, 2);
    const stage = parseStageName(args[0]);
    requireRoot();
    const document = parseDocumentOf(stage, await readStdin(), "apply");
    return applyUnderLock(stage, [document]);
  },
};
