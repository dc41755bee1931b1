import { type AlertsStatus, readAlertsStatus } from "../alerts/status.ts";
import { type Command, expectArguments, printJson, readStdin, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { type ClusterStatus, readClusterStatus } from "../postgres/status.ts";
import { run } from "../process.ts";
import { parseDocumentsText } from "../schema.ts";
import { type NodeStatus, readNode } from "../status/node.ts";
import { readVolume, type VolumeStatus } from "../status/volume.ts";
import type { GateReport } from "./gate.ts";

/** What `status` prints, as one line of JSON. */
export interface HostStatus {
  host: string;
  volumes: VolumeStatus[];
  /** What is wrong by the last look of the host's own timer. */
  alerts: AlertsStatus | undefined;
  /** On the node's host. */
  node: NodeStatus | undefined;
  /** Copies, witnesses and hsm_secret as the gate sees them, and what it would decide; on the node's host. */
  gate: GateReport | undefined;
  /** On a host of the PostgreSQL cluster. */
  cluster: ClusterStatus | undefined;
}

/** The gate runs as the node's user, so it is a process of its own. Undefined if it can't say anything. */
async function askGate(): Promise<GateReport | undefined> {
  const { stdout } = await run(process.execPath, [process.argv[1] ?? "", "gate"]);
  try {
    return JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "") as GateReport;
  } catch {
    return undefined;
  }
}

export const status: Command = {
  usage: "status < DOCUMENTS",
  summary: "print as JSON how node, copies, devices and mounts are; changes nothing",
  async run(args) {
    expectArguments(status, args, 0);
    requireRoot();
    const documents = parseDocumentsText(await readStdin());
    const storage = documents.find((document) => document.stage === "storage");
    const lightningd = documents.find((document) => document.stage === "lightningd");
    const etcd = documents.find((document) => document.stage === "etcd");
    const postgres = documents.find((document) => document.stage === "postgres");
    const hasIdentity = etcd ?? postgres ?? (lightningd?.wallet.kind === "postgres" ? lightningd : undefined);
    const watched = documents.find((document) => document.stage === "alerts");
    const [volumes, node, gate, cluster, alerts] = await Promise.all([
      Promise.all((storage?.volumes ?? []).map(readVolume)),
      lightningd === undefined ? undefined : readNode(lightningd),
      lightningd === undefined ? undefined : askGate(),
      hasIdentity === undefined ? undefined : readClusterStatus(etcd, postgres),
      watched === undefined ? undefined : readAlertsStatus(watched),
    ]);
    printJson({ host: documents[0]?.host ?? "", alerts, volumes, node, gate, cluster } satisfies HostStatus);
    return EXIT.ok;
  },
};
