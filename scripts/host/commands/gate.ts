import { type Command, printJson } from "../command.ts";
import { EXIT } from "../contract.ts";
import { becomeUser } from "../gate/account.ts";
import { decide } from "../gate/decide.ts";
import { createObserver } from "../gate/observe.ts";
import { gateStart } from "../gate/start.ts";
import { readGateDocument } from "../gate/state.ts";
import { Refusal } from "../stage.ts";

/** What `gate` prints, as one line of JSON: the decision as it would be now, and what it rests on. */
export interface GateReport {
  decision: ReturnType<typeof decide>;
  seen: Awaited<ReturnType<ReturnType<typeof createObserver>>>;
}

const say = (line: string) => console.error(line);

export const gate: Command = {
  usage: "gate [--start]",
  summary: "print as JSON whether lightningd may start now, and why; --start: wait, and print the config to start with",
  async run(args) {
    const start = args[0] === "--start";
    if (args.length > (start ? 1 : 0))
      throw new Refusal({
        code: "HOST-ARGUMENTS",
        what: "gate takes no argument but --start",
        received: args.join(" "),
        why: "an argument that isn't understood could mean something else than what would be done",
        fix: "run gate, or gate --start",
      });
    const document = await readGateDocument();
    await becomeUser(document.user, document.group);
    if (start) {
      const outcome = await gateStart(document, say);
      if ("status" in outcome) return outcome.status;
      console.log(outcome.config);
      return EXIT.ok;
    }
    const seen = await createObserver(document, say)();
    const decision = decide(seen);
    printJson({ decision, seen } satisfies GateReport);
    return { start: EXIT.ok, wait: EXIT.temporary, refuse: EXIT.gateRefused }[decision.verdict];
  },
};
