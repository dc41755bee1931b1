/** A topology's documents as components: hosts first, then their stages in order. */
import type { Command } from "@pulumi/command/remote/command.js";
import type * as pulumi from "@pulumi/pulumi";
import { Alerts } from "../components/alerts.ts";
import { BaseSystem } from "../components/base-system.ts";
import { BtrfsVolumes } from "../components/btrfs-volumes.ts";
import { ClusterCertificates } from "../components/cluster-certificates.ts";
import { EtcdMember } from "../components/etcd-member.ts";
import { LightningNode } from "../components/lightning-node.ts";
import { Maintenance } from "../components/maintenance.ts";
import { type MadeMachine, NodeHost } from "../components/node-host.ts";
import { PeerAccess } from "../components/peer-access.ts";
import { PostgresMember } from "../components/postgres-member.ts";
import { ReplicaSource } from "../components/replica-source.ts";
import { ReplicaTarget } from "../components/replica-target.ts";
import { RetiredMember } from "../components/retired-member.ts";
import { type Upload, uploadOf } from "../components/topology/places.ts";
import type { Topology } from "../components/topology/schema.ts";
import { Witness } from "../components/witness.ts";
import type { StageDocument } from "../scripts/host/contract.ts";
import { planSteps, type Step } from "./steps.ts";

/** A step on the hosts, and the commands that carry it out. */
type StepComponent = pulumi.ComponentResource & { readonly commands: readonly Command[] };

export interface ProvisionArgs {
  topology: Topology;
  documents: ReadonlyMap<string, readonly StageDocument[]>;
  program: { file: string; sha256: string };
  bootstrapScript: string;
  /** Machines that this stack makes, by host: those of the lab. */
  machines: ReadonlyMap<string, MadeMachine>;
}

/** Declares every resource of the stack; returns the commands that bring the hosts to what the documents say. */
export function provision(args: ProvisionArgs): Command[] {
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
  const done = new Map<string, StepComponent>();
  for (const step of planSteps(args.documents)) {
    const after = step.after.map((earlier) => lookUp(done, earlier));
    done.set(step.name, createStep(step, hosts, after, upload));
  }
  return [...done.values()].flatMap(({ commands }) => commands);
}

function createStep(
  step: Step,
  hosts: ReadonlyMap<string, NodeHost>,
  after: pulumi.Resource[],
  upload: Upload | undefined,
): StepComponent {
  switch (step.kind) {
    case "stage":
      return createStage(step.name, step.document, { host: lookUp(hosts, step.document.host), after }, upload);
    case "access":
      return new PeerAccess(step.name, {
        source: lookUp(hosts, step.source),
        print: step.print,
        targets: step.targets.map(({ host, authorize }) => ({ host: lookUp(hosts, host), authorize })),
        after,
      });
    case "certificates":
      return new ClusterCertificates(step.name, {
        host: lookUp(hosts, step.host),
        authority: lookUp(hosts, step.authority),
        cluster: step.cluster,
        identities: step.identities,
        after,
      });
  }
}

function createStage(
  name: string,
  document: StageDocument,
  place: { host: NodeHost; after: pulumi.Resource[] },
  upload: Upload | undefined,
): StepComponent {
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
    case "etcd":
      return new EtcdMember(name, { ...place, document });
    case "postgres":
      return new PostgresMember(name, { ...place, document });
    case "retired":
      return new RetiredMember(name, { ...place, document });
    case "alerts":
      return new Alerts(name, { ...place, document });
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
