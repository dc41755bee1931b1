/** Renders lightningd.service from the values of the desired state. */
import { createHash } from "node:crypto";
import { dirname } from "node:path";
import { EXIT, LIGHTNINGD, type LightningdDocument } from "../scripts/host/contract.ts";
import { fillTemplate } from "./load.ts";
import { REPLICA_UNIT } from "./replica.ts";
import { mountUnitName, unitWord } from "./systemd.ts";

/** How long after an end without success the next try begins. */
const RETRY = {
  // What fails at once fails again, so ever more slowly.
  sqlite: "RestartSec=5\nRestartSteps=6\nRestartMaxDelaySec=1min",
  // A primary that moves ends lightningd, and each second stands between two payments; the gate itself waits for the new one, and pauses
  // before its look when lightningd has ended at once again and again (gate/back-off.ts).
  postgres: "RestartSec=200ms",
} as const;

/** The replica's file, where there is one. */
const replicaOf = ({ wallet }: LightningdDocument) => (wallet.kind === "sqlite" ? wallet.replica : undefined);

/** What the unit may write: the volumes and the replica's directory; the witness stage adds its own place. */
function writablePaths(document: LightningdDocument): string[] {
  const replica = replicaOf(document);
  return [...new Set([...document.mounts, ...(replica ? [dirname(replica.path)] : [])])];
}

/** Units that mount what the node lies on. */
function mountUnits(document: LightningdDocument): string[] {
  const local = document.mounts.map(mountUnitName);
  return replicaOf(document)?.peek.kind === "peer" ? [...local, REPLICA_UNIT] : local;
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
      retry: RETRY[document.wallet.kind],
      gateRefused: String(EXIT.gateRefused),
      mountUnits: mountUnits(document).join(" "),
      // "-": a path that isn't there yet must not keep the gate from saying so.
      writable: writablePaths(document)
        .map((path) => unitWord(`-${path}`))
        .join(" "),
      desired,
      replica: unitWord(`TWOFOLD_REPLICA=${replicaOf(document)?.path ?? ""}`),
    });
  const hash = createHash("sha256");
  for (const part of [fill(""), ...others]) hash.update(part).update("\0");
  const desired = hash.digest("hex").slice(0, 16);
  return { content: fill(desired), desired };
}
