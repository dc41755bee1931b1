/** Keys and certificates as they lie on a host of the cluster. */

import { X509Certificate } from "node:crypto";
import { rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type ClusterIdentity, TLS, tlsFiles } from "../contract.ts";
import { ensureOwnDirectory, makeDirectory, syncDirectory, writeFileDurably } from "../files.ts";
import { ROOT_DIRECTORY, ROOT_FILE } from "../planning.ts";
import { readText } from "../read.ts";
import { Refusal } from "../stage.ts";
import { ensureAuthority } from "./authority.ts";
import { daysLeft, RENEW_DAYS, unfit } from "./certificate.ts";
import { makeKey, makeRequest, signRequest } from "./openssl.ts";

/** What a host asks the authority for. */
export interface Requests {
  host: string;
  /** PEM by role. */
  requests: Record<string, string>;
}

/** What the authority answers. */
export interface Signed {
  /** PEM. */
  ca: string;
  /** PEM by role. */
  certificates: Record<string, string>;
}

export interface Installed {
  written: string[];
  authorityChanged: boolean;
}

/** A key that is there is kept: its certificate may be in use. */
async function ensureKey(path: string): Promise<void> {
  if ((await readText(path)) !== undefined) return;
  const temporary = join(dirname(path), `.${basename(path)}.twofold-new`);
  await rm(temporary, { force: true });
  await makeKey(temporary);
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}

/** Makes the host's keys where there are none, and a request for each. */
export async function requestCertificates(host: string, identities: ClusterIdentity[]): Promise<Requests> {
  await ensureOwnDirectory(dirname(TLS.directory));
  await makeDirectory(TLS.directory, ROOT_DIRECTORY);
  const requests: Record<string, string> = {};
  for (const { role, commonName } of identities) {
    const { key } = tlsFiles(role);
    await ensureKey(key);
    requests[role] = await makeRequest(key, commonName);
  }
  return { host, requests };
}

/** Signs as the cluster's authority, which is made at the first time. */
export async function signCertificates(
  cluster: string,
  identities: ClusterIdentity[],
  requests: Record<string, string>,
): Promise<Signed> {
  await ensureOwnDirectory(dirname(TLS.authority));
  const authority = await ensureAuthority(TLS.authority, cluster);
  const certificates: Record<string, string> = {};
  for (const identity of identities) {
    const request = requests[identity.role];
    if (request === undefined) throw new Error(`there is no request for the role ${identity.role}`);
    certificates[identity.role] = await signRequest(request, identity, authority);
  }
  return { ca: (await readText(authority.certificate)) ?? "", certificates };
}

/**
 * Puts certificates in place. One that still serves for {@link RENEW_DAYS} is kept unless `renew` says otherwise, so that a lost
 * Pulumi state changes nothing on a living host.
 * @returns the roles whose certificate was written, and whether the authority is another one now
 * @param options.newAuthority takes another authority than the one whose certificates are in use; every host of the cluster has to
 * @throws {Refusal} for another authority without that
 */
export async function installCertificates(
  identities: ClusterIdentity[],
  signed: Signed,
  { renew = false, newAuthority = false }: { renew?: boolean; newAuthority?: boolean } = {},
): Promise<Installed> {
  const present = await readText(TLS.ca);
  const isOther = present !== undefined && fingerprint(present) !== fingerprint(signed.ca);
  if (isOther && !newAuthority)
    throw new Refusal({
      code: "TLS-OTHER-AUTHORITY",
      what: "these certificates come from another authority than the one that this host trusts",
      received: `authority ${fingerprint(signed.ca)}, ${TLS.ca} has ${fingerprint(present)}`,
      why: "the other members would refuse this host, and the primary could lose its standby",
      fix: `bring ${TLS.authority} back to the authority's host; if it is lost: ./twofold certificates renew --new-authority, which gives every host certificates of the new one, then pulumi up`,
    });
  if (present === undefined || isOther) await writeFileDurably(TLS.ca, signed.ca, ROOT_FILE);
  const written: string[] = [];
  for (const identity of identities) {
    const { key, certificate } = tlsFiles(identity.role);
    const next = signed.certificates[identity.role] ?? "";
    const keyPem = (await readText(key)) ?? "";
    const problem = unfit({ certificate: next, ca: signed.ca, key: keyPem }, identity, new Date());
    if (problem !== undefined)
      throw new Refusal({
        code: "TLS-CERTIFICATE",
        what: `the new certificate of role ${identity.role} can't be used`,
        received: problem,
        why: "the other members would refuse this host",
        fix: "see that the clocks of both hosts are right, then run this again",
      });
    const before = await readText(certificate);
    if (before !== undefined && !renew && stillServes(before, signed.ca, keyPem, identity)) continue;
    await writeFileDurably(certificate, next, ROOT_FILE);
    written.push(identity.role);
  }
  return { written, authorityChanged: isOther };
}

function stillServes(certificate: string, ca: string, key: string, identity: ClusterIdentity): boolean {
  const now = new Date();
  return (
    unfit({ certificate, ca, key }, identity, now) === undefined &&
    daysLeft(new X509Certificate(certificate), now) >= RENEW_DAYS
  );
}

const fingerprint = (pem: string) => new X509Certificate(pem).fingerprint256;
