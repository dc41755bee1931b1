/** Renders lightningd.service from the values of the desired state. */
import { createHash } from "node:crypto";
import { dirname } from "node:path";
import { EXIT, LIGHTNINGD, type LightningdDocument } from "../scripts/host/contract.ts";
import { fillTemplate } from "./load.ts";
import { REPLICA_UNIT } from "./replica.ts";
import { mountUnitName, unitWord } from "./systemd.ts";

/** What the unit may write: the volumes and the replica's directory; the witness stage adds its own place. */
function writablePaths({ mounts, wallet }: LightningdDocument): string[] {
  return [...new Set([...mounts, ...(wallet.replica ? [dirname(wallet.replica.path)] : [])])];
}

/** Units that mount what the node lies on. */
function mountUnits({ mounts, wallet }: LightningdDocument): string[] {
  const local = mounts.map(mountUnitName);
  return wallet.replica?.peek.kind === "peer" ? [...local, REPLICA_UNIT] : local;
}

/**
 * @param others the other contents that a running node was started with (its config, the path of its programs): a change
 * of any of them changes TWOFOLD_DESIRED in the unit, which the running process has in its environment.
 */
export function renderLightningdUnit(
  document: LightningdDocument,
  others: string[],
): { content: string; desired: string } {
  const fill = (desired: string) =>
    fillTemplate("lightningd.service", {
      node: document.node,
      user: document.user,
      group: document.group,
      startProgram: LIGHTNINGD.startProgram,
      programs: LIGHTNINGD.programs,
      config: LIGHTNINGD.config,
      gateRefused: String(EXIT.gateRefused),
      mountUnits: mountUnits(document).join(" "),
      // "-": a path that isn't there yet must not keep the gate from saying so.
      writable: writablePaths(document)
        .map((path) => unitWord(`-${path}`))
        .join(" "),
      desired,
      replica: unitWord(`TWOFOLD_REPLICA=${document.wallet.replica?.path ?? ""}`),
    });
  const hash = createHash("sha256");
  for (const part of [fill(""), ...others]) hash.update(part).update("\0");
  const desired = hash.digest("hex").slice(0, 16);
  return { content: fill(desired), desired };
}
