/** What is done on the hosts, and in which order. Pure. */
import { certificatesOf, type HostCertificates, identityOf } from "../components/topology/certificates.ts";
import type { ReplicaDocument, StageDocument, WitnessDocument } from "../scripts/host/contract.ts";

/** A stage of one host. */
export interface StageStep {
  kind: "stage";
  /** Unique in the stack: "alice-storage". */
  name: string;
  document: StageDocument;
  /** Names of the steps that have to be done before; each stands earlier in the list. */
  after: string[];
}

/** The node's host gets into others with a key of its own: it is made there, and its public half is brought to them. */
export interface AccessStep {
  kind: "access";
  /** "alice-replica-access". */
  name: string;
  /** The host whose key it is. */
  source: string;
  /** Words of the host program's command that prints the public key. */
  print: string[];
  /** The hosts that let it in, each with the words of the command that takes the key. */
  targets: { host: string; authorize: string[] }[];
  after: string[];
}

/** A host gets its certificates of the cluster: keys and requests are made there, signed on the authority's host, brought back. */
export interface CertificatesStep extends HostCertificates {
  kind: "certificates";
  /** "pg1-certificates". */
  name: string;
  after: string[];
}

export type Step = StageStep | AccessStep | CertificatesStep;

/**
 * Every document as a step, and the keys between hosts, each after what it needs: a stage the one before it on its host; a
 * mounted replica the account that lets it in; lightningd every other step of every host, since it must not start before
 * its copies and witnesses are there.
 *
 * @param documents The documents of each host in the order of its stages.
 */
export function planSteps(documents: ReadonlyMap<string, readonly StageDocument[]>): Step[] {
  const stages = [...documents.values()].flatMap((list) =>
    list.map((document, index): StageStep => {
      const before = list[index - 1];
      return { kind: "stage", name: stageName(document), document, after: before ? [stageName(before)] : [] };
    }),
  );
  const all = stages.map(({ document }) => document);
  const replica = replicaAccess(all);
  const witness = witnessAccess(all);
  const mount = stages.find(({ document }) => isReplica(document, "source"));
  if (replica !== undefined && mount !== undefined) {
    // The key is made and let in before the mount, so the mount's own predecessor goes before the key.
    replica.after.push(...mount.after);
    mount.after.push(replica.name);
  }
  // NFS knows no key: what the mount needs of the other host is its export.
  const exported = stages.find(({ document }) => isReplica(document, "target") && document.via === "nfs");
  if (exported !== undefined) mount?.after.push(exported.name);
  const certificates = planCertificates(documents, stages);
  const consensus = stages.filter(({ document }) => document.stage === "etcd").map(({ name }) => name);
  for (const { document, after } of stages) {
    // Members of PostgreSQL find each other in etcd, whichever hosts it is on.
    if (document.stage === "postgres") after.push(...consensus.filter((name) => !after.includes(name)));
  }
  const cluster = stages.filter(({ document }) => document.stage === "etcd" || document.stage === "postgres");
  for (const { document, after } of stages) {
    // A member goes when those that come are there.
    if (document.stage === "retired")
      after.push(...cluster.map(({ name }) => name).filter((name) => !after.includes(name)));
  }
  const steps: Step[] = [...stages, ...certificates, ...[replica, witness].filter((step) => step !== undefined)];
  for (const { document, after } of stages) {
    if (document.stage === "lightningd") {
      after.push(
        ...steps.map(({ name }) => name).filter((name) => name !== stageName(document) && !after.includes(name)),
      );
    }
  }
  return sort(steps);
}

/** Each host's certificates come after its base and the authority's, and before the stages that use them. */
function planCertificates(
  documents: ReadonlyMap<string, readonly StageDocument[]>,
  stages: readonly StageStep[],
): CertificatesStep[] {
  const steps = certificatesOf(documents).map(
    (certificates): CertificatesStep => ({
      kind: "certificates",
      name: `${certificates.host}-certificates`,
      ...certificates,
      after: [...new Set([`${certificates.host}-base`, `${certificates.authority}-base`])],
    }),
  );
  for (const step of steps) {
    for (const stage of stages) {
      const user = stage.document.host === step.host && identityOf(stage.document) !== undefined;
      if (user) stage.after.push(step.name);
    }
  }
  return steps;
}

function replicaAccess(all: StageDocument[]): AccessStep | undefined {
  const source = all.find((document) => isReplica(document, "source"));
  const target = all.find((document) => isReplica(document, "target"));
  // Only SSH has keys: a local replica has no target, and NFS none that is let in.
  if (source?.via !== "sshfs" || target?.account === undefined) {
    return undefined;
  }
  return {
    kind: "access",
    name: `${source.host}-replica-access`,
    source: source.host,
    print: ["replica-key", source.node],
    targets: [{ host: target.host, authorize: ["replica-authorize", target.account.name, target.node] }],
    after: [stageName(target)],
  };
}

function witnessAccess(all: StageDocument[]): AccessStep | undefined {
  const witnesses = all.filter((document): document is WitnessDocument => document.stage === "witness");
  const source = witnesses.find(({ node }) => node !== undefined);
  const node = source?.node?.name;
  const targets = witnesses.filter(({ writers }) => writers.some((writer) => writer.node === node));
  if (source === undefined || node === undefined || targets.length === 0) {
    return undefined;
  }
  return {
    kind: "access",
    name: `${source.host}-witness-access`,
    source: source.host,
    print: ["witness-key"],
    targets: targets.map(({ host }) => ({ host, authorize: ["witness-authorize", node] })),
    after: [source, ...targets].map(stageName),
  };
}

/** Each step after those that it waits for; otherwise in the order given. */
function sort(steps: Step[]): Step[] {
  const sorted: Step[] = [];
  const place = (step: Step) => {
    if (!sorted.includes(step)) {
      steps.filter(({ name }) => step.after.includes(name)).forEach(place);
      sorted.push(step);
    }
  };
  steps.forEach(place);
  return sorted;
}

function isReplica(document: StageDocument, role: ReplicaDocument["role"]): document is ReplicaDocument {
  return document.stage === "replica" && document.role === role;
}

function stageName(document: StageDocument): string {
  return `${document.host}-${document.stage}`;
}
