/** Which certificates of the cluster each host needs, and who signs them. Pure. */
import type { ClusterIdentity, StageDocument } from "../../scripts/host/contract.ts";

export interface HostCertificates {
  host: string;
  /** Host whose key signs. */
  authority: string;
  cluster: string;
  identities: ClusterIdentity[];
}

/** Hosts without any are left out. */
export function certificatesOf(documents: ReadonlyMap<string, readonly StageDocument[]>): HostCertificates[] {
  return [...documents].flatMap(([host, list]) => {
    const found = list.map(identityOf).filter((one) => one !== undefined);
    const [first] = found;
    if (first === undefined) return [];
    const identities = found.map(({ identity }) => identity);
    return [{ host, authority: first.identity.authority, cluster: first.cluster, identities }];
  });
}

/** The certificate that a document's stage uses, if it uses one. */
export function identityOf(document: StageDocument): { cluster: string; identity: ClusterIdentity } | undefined {
  if (document.stage === "etcd" || document.stage === "postgres") return document;
  if (document.stage === "lightningd" && document.wallet.kind === "postgres")
    return { cluster: document.node, identity: document.wallet.identity };
  return undefined;
}
