/** The gate's decision in an operator's words. Pure. */
import { type ClusterSeen, unseenWords } from "../postgres/wallet/decide.ts";
import type { Decision } from "./decide.ts";
import type { CopyState, Observed } from "./observed.ts";

/** Lines of a decision, the first of which names verdict and code. */
export function describeDecision(decision: Decision): string[] {
  if (decision.verdict === "start")
    return [`gate: start (${decision.code})`, ...decision.notes.map((note) => `  ${note}`)];
  const head = decision.verdict === "wait" ? "waiting" : "REFUSED";
  return [
    `gate: ${head} (${decision.code}): ${decision.what}`,
    `  would have happened: ${decision.consequence}`,
    `  to do: ${decision.fix}`,
  ];
}

function describeCopy(copy: CopyState): string {
  switch (copy.state) {
    case "wallet":
      return `data_version ${copy.version}, ${copy.journalMode}, node ${copy.nodeId ?? "none yet"} (${copy.path})`;
    case "blank":
    case "absent":
      return `${copy.state === "blank" ? "no wallet in it" : "missing"} (${copy.path})`;
    default:
      return `${copy.state}: ${copy.why} (${copy.path})`;
  }
}

function describeCluster({ cluster, required }: ClusterSeen, main: CopyState): string[] {
  if (cluster.state === "unreachable") return [`  wallet: no primary: ${cluster.why}`];
  const version =
    main.state === "wallet" ? `data_version ${main.version}, node ${main.nodeId ?? "none yet"}` : "none yet";
  const standbys = cluster.standbys.map(
    ({ name, sync, flushed, lagMs }) =>
      `${name} ${sync ? "synchronous" : "asynchronous"}, ${flushed ? "has all of it" : "BEHIND"}${lagMs === null ? "" : `, ${lagMs} ms`}`,
  );
  return [
    `  wallet: ${version} (primary ${cluster.server}, timeline ${cluster.timeline}${unseenWords(cluster)})`,
    `  standbys: ${standbys.join("; ") || "NONE"}; ${required} must have flushed a commit before it counts`,
  ];
}

/** Everything that was seen, one line each. */
export function describeObserved(seen: Observed): string[] {
  return [
    ...(seen.cluster
      ? describeCluster(seen.cluster, seen.main)
      : [
          `  main: ${describeCopy(seen.main)}`,
          `  replica: ${seen.replica ? describeCopy(seen.replica) : "none declared"}`,
        ]),
    ...seen.witnesses.map((witness) => {
      switch (witness.state) {
        case "mark": {
          const { mark } = witness;
          return `  witness on ${witness.host}: data_version ${mark.dataVersion}${mark.exact ? ", exact" : " or more"} (${mark.source}, ${mark.at})`;
        }
        case "missing":
          return `  witness on ${witness.host}: none`;
        default:
          return `  witness on ${witness.host}: ${witness.state}: ${witness.why}`;
      }
    }),
    `  hsm_secret: ${secretWords(seen.secret)}`,
  ];
}

function secretWords(secret: Observed["secret"]): string {
  if (secret.state === "absent") return "missing";
  if (secret.state === "unreachable") return `unreachable: ${secret.why}`;
  return `${secret.kind}, ${secret.mode}, ${secret.owner}, node ${secret.nodeId ?? `not known (${secret.why})`}`;
}
