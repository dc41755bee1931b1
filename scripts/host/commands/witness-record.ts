import { type Command, expectArguments } from "../command.ts";
import { EXIT, hasPostgresWallet } from "../contract.ts";
import { handOver } from "../gate/account.ts";
import { readGateDocument } from "../gate/state.ts";
import { endStranded } from "../postgres/wallet/stranded.ts";
import { Refusal } from "../stage.ts";
import { recordSample, recordStop } from "../witness/record.ts";

/** Whether systemd says that lightningd ended by itself, after closing its files; SIGTERM counts as success there, and is none. */
export function wasCleanStop(environment: NodeJS.ProcessEnv): boolean {
  const { SERVICE_RESULT, EXIT_CODE, EXIT_STATUS } = environment;
  return SERVICE_RESULT === "success" && EXIT_CODE === "exited" && EXIT_STATUS === "0";
}

export const witnessRecord: Command = {
  usage: "witness-record sample|stop",
  summary:
    "move the node's high-water mark up: from the running node, or in ExecStopPost= after a clean stop (internal)",
  async run(args) {
    expectArguments(witnessRecord, args, 1);
    const [when] = args;
    if (when !== "sample" && when !== "stop")
      throw new Refusal({
        code: "HOST-ARGUMENTS",
        what: "the moment of the record is not known",
        received: when ?? "nothing",
        why: "a running wallet and a closed one are read differently",
        fix: `run ${witnessRecord.usage}`,
      });
    const document = await readGateDocument();
    const handed = await handOver(document.user, document.group);
    if (handed !== undefined) return handed;
    if (when === "stop" && !wasCleanStop(process.env)) return EXIT.ok;
    // What waits for a dead primary can't be sampled; the next sample is of the one that comes back.
    const stranded = when === "sample" && hasPostgresWallet(document) ? await endStranded(document) : undefined;
    if (stranded !== undefined) {
      console.error(`<3>witness: ${stranded}`);
      return EXIT.ok;
    }
    const recorded = when === "stop" ? await recordStop(document) : await recordSample(document, "sample");
    if (when === "stop" && recorded !== undefined)
      console.log(`witness: stopped at data_version ${recorded.mark.dataVersion}`);
    // "<4>": a warning to the journal (sd-daemon(3)).
    for (const line of recorded?.behind ?? []) console.error(`<4>witness: not recorded on ${line}`);
    return EXIT.ok;
  },
};
