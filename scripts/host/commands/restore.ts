import { type Command, expectArguments, printJson, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { audit, readIdentity, readSqliteGateDocument, writeIdentity } from "../gate/state.ts";
import { isUp, readUnitState } from "../lightningd/unit.ts";
import type { Copied } from "../recovery/files.ts";
import { underStartLock, WorkFailed } from "../recovery/locked.ts";
import { Refusal } from "../stage.ts";

/** What `restore` prints, as one line of JSON. */
export interface RestoreReport extends Copied {
  node: string;
  from: string;
  to: string;
}

export const restore: Command = {
  usage: "restore replica",
  summary: "copy the replica to main, after checking it; the damaged main is kept aside; starts nothing",
  async run(args) {
    expectArguments(restore, args, 1);
    requireRoot();
    if (args[0] !== "replica")
      throw new Refusal({
        code: "HOST-ARGUMENTS",
        what: "only the replica can be restored",
        received: args[0] ?? "nothing",
        why: "other copies are older than what the node has acknowledged",
        fix: `run ${restore.usage}`,
      });
    const document = await readSqliteGateDocument();
    if (isUp(await readUnitState()))
      throw new Refusal({
        code: "NODE-NOT-STOPPED",
        what: "lightningd runs, or its gate waits",
        received: "lightningd.service is up",
        why: "a running wallet can't be replaced",
        fix: "systemctl stop lightningd, then run this again",
      });
    try {
      const copied = JSON.parse(await underStartLock(document, ["repair-work", "restore"])) as Copied;
      const report: RestoreReport = {
        node: document.node,
        from: document.wallet.replica?.path ?? "",
        to: document.wallet.main,
        ...copied,
      };
      await audit("main restored from the replica", { ...report });
      // A host that was made anew has yet to learn whose node it runs.
      if (copied.nodeId !== undefined && (await readIdentity())?.node !== document.node)
        await writeIdentity({ node: document.node, nodeId: copied.nodeId, since: new Date().toISOString() });
      console.error(
        `main is at data_version ${copied.version}${copied.aside ? `; the former one is kept in ${copied.aside}` : ""}`,
      );
      console.error("next: ./twofold gate, then ./twofold repair, which starts the node");
      printJson(report);
      return EXIT.ok;
    } catch (error) {
      if (error instanceof WorkFailed) return error.status;
      throw error;
    }
  },
};
