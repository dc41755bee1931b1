/** Whether a host has the certificate that a stage needs. */
import { type ClusterIdentity, TLS, tlsFiles } from "../contract.ts";
import { planFile } from "../planning.ts";
import { type Entry, readText } from "../read.ts";
import { type CommonAction, Refusal } from "../stage.ts";
import { unfit } from "./certificate.ts";

/** Why the host's certificate of this identity can't serve, in words; undefined if it can. */
export async function readCertificateProblem(identity: ClusterIdentity): Promise<string | undefined> {
  const files = tlsFiles(identity.role);
  const [certificate, key, ca] = await Promise.all([
    readText(files.certificate),
    readText(files.key),
    readText(TLS.ca),
  ]);
  if (certificate === undefined || key === undefined || ca === undefined) {
    const missing = [
      [files.key, key],
      [files.certificate, certificate],
      [TLS.ca, ca],
    ].flatMap(([path, text]) => (text === undefined ? [path] : []));
    return `${missing.join(", ")} is missing`;
  }
  return unfit({ certificate, ca, key }, identity, new Date());
}

/** @throws {Refusal} if there is a problem. Pure. */
export function requireCertificate(identity: ClusterIdentity, problem: string | undefined): void {
  if (problem === undefined) return;
  throw new Refusal({
    code: "TLS-CERTIFICATE",
    what: `this host has no certificate for the role ${identity.role} that the cluster would take`,
    received: problem,
    why: "its members talk to no one without one",
    fix: `./twofold certificates renew has new ones signed on ${identity.authority}; before the first pulumi up, that is its own step`,
  });
}

/** The private key is this host's alone: only its ownership is put right. Pure. */
export function planKeyOwnership(path: string, entry: Entry | undefined, group: string): CommonAction[] {
  const ownership = { owner: "root", group, mode: "0640" };
  return planFile(path, entry && { ...entry, content: "" }, "", ownership).map((action) => ({
    ...action,
    item: `key:${path}` as const,
  }));
}
