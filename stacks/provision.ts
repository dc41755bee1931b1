/** A topology's documents as components: hosts first, then their stages in order. */
import type * as pulumi from "@pulumi/pulumi";
import { BaseSystem } from "../components/base-system.ts";
import { BtrfsVolumes } from "../components/btrfs-volumes.ts";
import { LightningNode } from "../components/lightning-node.ts";
import { Maintenance } from "../components/maintenance.ts";
import { type MadeMachine, NodeHost } from "../components/node-host.ts";
import { ReplicaSource } from "../components/replica-source.ts";
import { ReplicaTarget } from "../components/replica-target.ts";
import { type Upload, uploadOf } from "../components/topology/places.ts";
import type { Topology } from "../components/topology/schema.ts";
import { Witness } from "../components/witness.ts";
import type { StageDocument } from "../scripts/host/contract.ts";
import { orderStages } from "./stage-order.ts";

export type StageComponent =
  | BaseSystem
  | BtrfsVolumes
  | Maintenance
  | ReplicaTarget
  | ReplicaSource
  | Witness
  | LightningNode;

export interface ProvisionArgs {
  topology: Topology;
  documents: ReadonlyMap<string, readonly StageDocument[]>;
  program: { file: string; sha256: string };
  bootstrapScript: string;
  /** Machines that this stack makes, by host: those of the lab. */
  machines: ReadonlyMap<string, MadeMachine>;
}

/** Declares every resource of the stack and returns the stages by their names. */
export function provision(args: ProvisionArgs): Map<string, StageComponent> {
  const hosts = new Map<string, NodeHost>();
  for (const [hostName, spec] of Object.entries(args.topology.hosts)) {
    const made = args.machines.get(hostName);
    hosts.set(
      hostName,
      new NodeHost(hostName, {
        hostName,
        spec,
        program: args.program,
        bootstrapScript: args.bootstrapScript,
        ...(made === undefined ? {} : { made }),
      }),
    );
  }

  const upload = uploadOf(args.topology);
  const stages = new Map<string, StageComponent>();
  for (const { name, document, after } of orderStages(args.documents)) {
    const place = { host: lookUp(hosts, document.host), after: after.map((earlier) => lookUp(stages, earlier)) };
    stages.set(name, createStage(name, document, place, upload));
  }
  return stages;
}

function createStage(
  name: string,
  document: StageDocument,
  place: { host: NodeHost; after: pulumi.Resource[] },
  upload: Upload | undefined,
): StageComponent {
  switch (document.stage) {
    case "base":
      return new BaseSystem(name, { ...place, document });
    case "storage":
      return new BtrfsVolumes(name, { ...place, document });
    case "maintenance":
      return new Maintenance(name, { ...place, document });
    case "replica":
      return document.role === "target"
        ? new ReplicaTarget(name, { ...place, document })
        : new ReplicaSource(name, { ...place, document });
    case "witness":
      return new Witness(name, { ...place, document });
    case "lightningd":
      return new LightningNode(name, { ...place, document, upload });
  }
}

function lookUp<V>(map: ReadonlyMap<string, V>, name: string): V {
  const value = map.get(name);
  if (value === undefined) {
    throw new Error(`the documents speak of ${name}, which the topology does not have`);
  }
  return value;
}
