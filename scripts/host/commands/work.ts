import { type Command, expectArguments, printJson, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { applyDocument } from "../engine.ts";
import { describeError } from "../errors.ts";
import { WorkFailed } from "../recovery/locked.ts";
import { carryOut } from "../recovery/tasks.ts";
import { finishRequest, type RunTask, takeRequest } from "../run-request.ts";

const say = (line: string) => console.log(line);

async function carryOutTask(task: RunTask): Promise<{ report?: unknown }> {
  if ("recovery" in task) return { report: await carryOut(task.recovery, say) };
  for (const document of task.documents) {
    const changed = await applyDocument(document, { progress: say });
    printJson({ stage: document.stage, host: document.host, changed });
  }
  return {};
}

/** Runs in the transient unit that `apply`, `repair` and the repairs of the copies start, under the host lock. */
export const work: Command = {
  usage: "work REQUEST",
  summary: "carry out a request of 'apply', 'repair' or a repair of the copies (internal)",
  async run(args) {
    expectArguments(work, args, 1);
    requireRoot();
    const id = args[0] ?? "";
    const request = await takeRequest(id);
    try {
      await finishRequest(id, { status: EXIT.ok, ...(await carryOutTask(request.task)) });
      return EXIT.ok;
    } catch (error) {
      if (error instanceof WorkFailed) {
        await finishRequest(id, { status: error.status });
        return error.status;
      }
      const { text, status } = describeError(error);
      await finishRequest(id, { status, error: text });
      return status;
    }
  },
};
