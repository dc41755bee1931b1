import { type Command, expectArguments, printJson, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { applyDocument } from "../engine.ts";
import { describeError } from "../errors.ts";
import { finishRequest, takeRequest } from "../run-request.ts";

/** Runs in the transient unit that `apply` and `repair` start, under the host lock. */
export const work: Command = {
  usage: "work REQUEST",
  summary: "carry out a request of 'apply' or 'repair' (internal)",
  async run(args) {
    expectArguments(work, args, 1);
    requireRoot();
    const id = args[0] ?? "";
    const request = await takeRequest(id);
    try {
      for (const document of request.documents) {
        const changed = await applyDocument(document, { progress: (line) => console.log(line) });
        printJson({ stage: document.stage, host: document.host, changed });
      }
      await finishRequest(id, { status: EXIT.ok });
      return EXIT.ok;
    } catch (error) {
      const { text, status } = describeError(error);
      await finishRequest(id, { status, error: text });
      return status;
    }
  },
};
