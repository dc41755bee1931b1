import { type Command, expectArguments, printJson, readStdin, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { mustAs } from "../gate/account.ts";
import { readGateDocument } from "../gate/state.ts";
import { finishInit, init as firstStart } from "../init/init.ts";
import { type Survey, survey } from "../init/survey.ts";
import { underHostLock } from "../run-request.ts";
import { Refusal } from "../stage.ts";
import { readMark } from "../witness/store.ts";

/** What `init` prints at its end, as one line of JSON. */
export interface InitReport {
  node: string;
  nodeId: string;
  since: string;
}

function parseSurveys(text: string): Survey[] {
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value) && value.every((one) => typeof one?.host === "string" && Array.isArray(one?.found)))
      return value as Survey[];
  } catch {
    // Told below, with the value.
  }
  throw new Refusal({
    code: "INIT-SURVEYS",
    what: "stdin must hold the answers of 'init-survey' of the other hosts, as a JSON array",
    received: text.slice(0, 80) || "nothing",
    why: "without them nobody knows whether the node exists elsewhere",
    fix: "use ./twofold init, which asks all hosts; for a node without other hosts give []",
  });
}

/** Said to the process that holds the host lock. */
const LOCKED = "--locked";

export const init: Command = {
  usage: "init < SURVEYS",
  summary: "give the node of this host its first start, if nothing of it exists anywhere; can be repeated",
  async run(args) {
    const locked = args[0] === LOCKED;
    expectArguments(init, locked ? args.slice(1) : args, 0);
    requireRoot();
    const say = (line: string) => console.error(`init: ${line}`);
    // Two at once would both find nothing, and begin the node twice.
    if (!locked) return underHostLock(["init", LOCKED], say);
    const others = parseSurveys(await readStdin());
    const document = await readGateDocument();
    const { node, host, user, group } = document;
    const own = await survey(host, node);
    const identity = await firstStart(document, [own, ...others.filter((one) => one.host !== host)], say);
    await mustAs(user, group, process.execPath, [process.argv[1] ?? "", "witness-record", "sample"]);
    const mark = await readMark(node);
    if (mark.state !== "mark")
      throw new Error(
        `the witness has no mark of ${node} yet (${mark.state}); run ./twofold init again, which goes on from here`,
      );
    await finishInit(document, identity);
    const report: InitReport = { node, nodeId: identity.nodeId, since: identity.since };
    printJson(report);
    return EXIT.ok;
  },
};
