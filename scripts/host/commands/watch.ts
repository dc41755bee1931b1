import { callCommand } from "../alerts/call.ts";
import { readAlertsDocument, watch as watchHost } from "../alerts/watch.ts";
import { type Command, printJson, requireRoot } from "../command.ts";
import { ALERTS, EXIT } from "../contract.ts";
import { Refusal } from "../stage.ts";

/** Time for what was printed to be read; a look that hangs would hold this process. */
const END_MS = 1000;

/** What `watch --test` prints, as one line of JSON. */
export interface TestReport {
  host: string;
  command: string | undefined;
  /** Why the command did not take it; absent if it did. */
  error?: string;
}

async function test(): Promise<number> {
  const document = await readAlertsDocument();
  if (document === undefined)
    throw new Refusal({
      code: "ALERTS-NOT-APPLIED",
      what: "this host has no alerts stage yet",
      received: `${ALERTS.config} is not there`,
      why: "it says which command is to be called",
      fix: "run pulumi up",
    });
  const { host, command } = document;
  const report: TestReport = { host, command };
  if (command !== undefined) {
    const at = new Date().toISOString();
    const event = {
      kind: "raised",
      at,
      since: at,
      code: "TEST",
      subject: "a test",
      value: "nothing is wrong",
    } as const;
    const error = await callCommand(document, command, [event]);
    if (error !== undefined) report.error = error;
  }
  printJson(report);
  return report.error === undefined ? EXIT.ok : EXIT.failed;
}

export const watch: Command = {
  usage: "watch [--test]",
  summary: "look at this host and tell of what is wrong; runs once a minute. --test: call the alert command now",
  async run(args) {
    requireRoot();
    if (args.length === 1 && args[0] === "--test") return test();
    if (args.length > 0)
      throw new Refusal({
        code: "HOST-ARGUMENTS",
        what: "watch takes no argument but --test",
        received: args.join(" "),
        why: "an argument that isn't understood could mean something else than what would be done",
        fix: `run ${watch.usage}`,
      });
    const document = await readAlertsDocument();
    if (document !== undefined) await watchHost(document, (line) => console.log(line));
    setTimeout(() => process.exit(), END_MS).unref();
    return EXIT.ok;
  },
};
