/** Carries out the lightningd stage's own actions. */
import { hasSqliteWallet, type LightningdDocument } from "../contract.ts";
import { notMounted } from "../gate/mounts.ts";
import { type ApplyContext, Refusal } from "../stage.ts";
import { applyInstall } from "./install/install.ts";
import { setJournalMode } from "./journal.ts";
import type { LightningdAction } from "./plan.ts";
import { restartLightningd, startLightningd, stopLightningd } from "./service.ts";
import { readUnitState } from "./unit.ts";

export async function applyLightningd(
  action: LightningdAction,
  document: LightningdDocument,
  context: ApplyContext,
): Promise<void> {
  switch (action.kind) {
    case "lightningd/require-mount":
      if ((await notMounted([action.mount])).length === 0) return;
      throw new Refusal({
        code: "lightningd-volume-not-mounted",
        what: "the volume of the lightning directory is not mounted",
        received: `nothing is mounted at ${action.mount}`,
        why: "what is written under an empty mount point is a second, empty node beside the real one",
        fix: `see why with 'systemctl status' and 'mount ${action.mount}' on the host; \`pulumi up\` mounts it in its storage stage`,
      });
    case "lightningd/install":
      return applyInstall(document.install, { libpq: document.wallet.kind === "postgres" }, context);
    case "lightningd/set-journal-mode":
      if (hasSqliteWallet(document)) await setJournalMode(action.path, document);
      return;
    case "lightningd/stop":
      if ((await readUnitState()).invocation === action.invocation) await stopLightningd(context);
      return;
    case "lightningd/start":
      return startLightningd(context);
    case "lightningd/restart":
      return restartLightningd(action.invocation, context);
  }
}
