/** lightningd's unit, its gate, and degraded mode. */
import { EXIT, LIGHTNINGD, type LightningdDocument } from "../../contract.ts";
import type { Decision } from "../../gate/decide.ts";
import type { Degraded } from "../../gate/observed.ts";
import { GATE_RECORD } from "../../gate/start.ts";
import { readDegraded, readIdentity } from "../../gate/state.ts";
import { describeFinalStatus } from "../../lightningd/service.ts";
import { isUp, readUnitState, type UnitState } from "../../lightningd/unit.ts";
import { readText } from "../../read.ts";
import { askNodeId, rpcSocket } from "../../witness/rpc.ts";
import type { Condition } from "../alert.ts";

export interface NodeFacts {
  node: string;
  /** The node was started once: `init` is done. */
  initialised: boolean;
  unit: Pick<UnitState, "active" | "sub" | "lastStatus">;
  /** lightningd answers its RPC. */
  answers: boolean;
  /** What the last gate decided, if it said so since the host was started. */
  gate: Decision | undefined;
}

export function judgeNode({ node, initialised, unit, answers, gate }: NodeFacts): Condition[] {
  const subject = `node ${node}`;
  if (!initialised || answers) return [];
  if (unit.active === "failed") {
    if (unit.lastStatus === EXIT.gateRefused && gate?.verdict === "refuse")
      return [
        { code: "NODE_FAILED", subject, value: `the gate refused with ${gate.code}: ${gate.what}`, fix: gate.fix },
      ];
    return [{ code: "NODE_FAILED", subject, value: describeFinalStatus(unit.lastStatus) }];
  }
  if (!isUp(unit)) return [{ code: "NODE_STOPPED", subject, value: `${LIGHTNINGD.unit} is ${unit.active}` }];
  if (gate?.verdict === "wait")
    return [{ code: "NODE_WAITING", subject, value: `the gate waits with ${gate.code}: ${gate.what}`, fix: gate.fix }];
  return [
    { code: "NODE_WAITING", subject, value: `${LIGHTNINGD.unit} is ${unit.sub}, and lightningd does not answer` },
  ];
}

/** Its end is near in the last tenth of the time, and in the last hour of a long one at least. */
function endIsNear({ since, until }: Degraded, now: Date): boolean {
  const [begin, end] = [Date.parse(since), Date.parse(until)];
  const tenth = (end - begin) / 10;
  return end - now.getTime() <= (end - begin > 4 * 3_600_000 ? Math.max(tenth, 3_600_000) : tenth);
}

export function judgeDegraded(degraded: Degraded | undefined, now: Date): Condition[] {
  if (degraded === undefined) return [];
  const { since, until, reason } = degraded;
  const subject = `degraded mode without ${degraded.subject === "replica" ? "the replica" : "a witness"}`;
  if (now.getTime() >= Date.parse(until))
    return [{ code: "DEGRADED_OVER", subject, value: `since ${since}, and its time ended ${until}: ${reason}` }];
  const on: Condition = { code: "DEGRADED", subject, value: `since ${since}, until ${until}: ${reason}` };
  return endIsNear(degraded, now) ? [on, { code: "DEGRADED_ENDS", subject, value: `it ends ${until}` }] : [on];
}

export async function lookAtNode(document: LightningdDocument): Promise<Condition[]> {
  const [unit, identity, answer, record] = await Promise.all([
    readUnitState(),
    readIdentity(),
    askNodeId(rpcSocket(document)),
    readText(GATE_RECORD),
  ]);
  return judgeNode({
    node: document.node,
    initialised: identity?.node === document.node,
    unit,
    answers: answer !== undefined,
    gate: record === undefined ? undefined : (JSON.parse(record) as Decision),
  });
}

export const lookAtDegraded = async (now: Date): Promise<Condition[]> => judgeDegraded(await readDegraded(), now);
