/** The order in which the stages of all hosts are applied. Pure. */
import type { StageDocument } from "../scripts/host/contract.ts";

export interface OrderedStage {
  /** Name of the stage's component, unique in the stack: "alice-storage". */
  name: string;
  document: StageDocument;
  /** Names of the stages that have to be in place before; each stands earlier in the list. */
  after: string[];
}

/**
 * What a stage needs: the one before it on its host; a replica that is mounted, the host that keeps it; lightningd,
 * every other stage of every host, since it must not start before its copies and witnesses are there.
 *
 * @param documents The documents of each host in the order of its stages.
 */
export function orderStages(documents: ReadonlyMap<string, readonly StageDocument[]>): OrderedStage[] {
  const all = [...documents.values()].flat();
  const needs = new Map<StageDocument, StageDocument[]>();
  for (const list of documents.values()) {
    list.forEach((document, index) => {
      needs.set(document, [...list.slice(0, index).slice(-1), ...all.filter((other) => crossesHosts(document, other))]);
    });
  }

  const ordered: OrderedStage[] = [];
  const placed = new Set<StageDocument>();
  const place = (document: StageDocument) => {
    if (placed.has(document)) {
      return;
    }
    placed.add(document);
    const before = needs.get(document) ?? [];
    before.forEach(place);
    ordered.push({ name: stageName(document), document, after: [...new Set(before.map(stageName))] });
  };
  all.forEach(place);
  return ordered;
}

/** Whether `document` has to wait for `other` of another host. */
function crossesHosts(document: StageDocument, other: StageDocument): boolean {
  if (document.host === other.host || other.stage === "lightningd") {
    return false;
  }
  if (document.stage === "lightningd") {
    return true;
  }
  return isReplica(document, "source") && isReplica(other, "target");
}

function isReplica(document: StageDocument, role: "source" | "target"): boolean {
  return document.stage === "replica" && document.role === role;
}

function stageName(document: StageDocument): string {
  return `${document.host}-${document.stage}`;
}
