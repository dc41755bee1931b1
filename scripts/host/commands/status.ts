import { type Command, expectArguments, printJson, readStdin, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { parseDocumentsText } from "../schema.ts";
import { type NodeStatus, readNode } from "../status/node.ts";
import { readVolume, type VolumeStatus } from "../status/volume.ts";

/** What `status` prints, as one line of JSON. */
export interface HostStatus {
  host: string;
  volumes: VolumeStatus[];
  /** On the node's host. */
  node: NodeStatus | undefined;
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
    const [volumes, node] = await Promise.all([
      Promise.all((storage?.volumes ?? []).map(readVolume)),
      lightningd === undefined ? undefined : readNode(lightningd),
    ]);
    printJson({ host: documents[0]?.host ?? "", volumes, node } satisfies HostStatus);
    return EXIT.ok;
  },
};
