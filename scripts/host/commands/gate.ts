import { walletDsn } from "../../../templates/postgres-dsn.ts";
import { type Command, printJson } from "../command.ts";
import { EXIT, hasPostgresWallet, type LightningdDocument } from "../contract.ts";
import { handOver } from "../gate/account.ts";
import { decide } from "../gate/decide.ts";
import { createObserver, observeRunning } from "../gate/observe.ts";
import { gateStart } from "../gate/start.ts";
import { readGateDocument } from "../gate/state.ts";
import { readUnitState } from "../lightningd/unit.ts";
import { Refusal } from "../stage.ts";
import { askNodeId, rpcSocket } from "../witness/rpc.ts";

/** What `gate` prints, as one line of JSON: the decision as it would be now, and what it rests on. */
export interface GateReport {
  /** lightningd answers: the decision is the one that a restart at this moment would meet. */
  running: boolean;
  decision: ReturnType<typeof decide>;
  seen: Awaited<ReturnType<ReturnType<typeof createObserver>>>;
}

const say = (line: string) => console.error(line);

/**
 * What start-lightningd makes lightningd's command line of: the config's path, then further arguments, a line each. Of a cluster it is the
 * one server that was checked. If the primary moves meanwhile, lightningd finds that this one takes no writes, ends, and the gate looks
 * again; with all members to choose from, it might choose one that says it takes writes and is not the one that was checked.
 */
export function startLines(
  document: LightningdDocument,
  { config, server }: { config: string; server?: string },
): string[] {
  if (!hasPostgresWallet(document)) return [config];
  const checked = document.wallet.members.filter(({ address }) => address === server);
  if (checked.length !== 1) throw new Error(`gate: the checked server ${server} is no member`);
  return [config, `--wallet=${walletDsn(document.wallet, checked)}`];
}

export const gate: Command = {
  usage: "gate [--start]",
  summary:
    "print as JSON whether lightningd may start now, and why; --start: wait, and print the config to start with and further arguments",
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
    const handed = await handOver(document.user, document.group);
    if (handed !== undefined) return handed;
    if (start) {
      const outcome = await gateStart(document, say);
      if ("status" in outcome) return outcome.status;
      console.log(startLines(document, outcome).join("\n"));
      return EXIT.ok;
    }
    const unit = await readUnitState();
    const running = unit.active === "active" && (await askNodeId(rpcSocket(document))) !== undefined;
    const seen = running ? await observeRunning(document, unit.mainPid) : await createObserver(document, say)();
    const decision = decide(seen);
    printJson({ running, decision, seen } satisfies GateReport);
    return { start: EXIT.ok, wait: EXIT.temporary, refuse: EXIT.gateRefused }[decision.verdict];
  },
};
