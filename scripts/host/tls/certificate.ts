/** What can be said of a certificate. Pure but for the clock that is given. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import type { ClusterIdentity } from "../contract.ts";

/** A certificate this close to its end is made anew by `renew` and told by `status`. */
export const RENEW_DAYS = 30;
const DAY_MS = 86_400_000;

/** Whole days until the certificate ends; negative after it. */
export function daysLeft(certificate: X509Certificate, now: Date): number {
  return Math.floor((Date.parse(certificate.validTo) - now.getTime()) / DAY_MS);
}

/** DNS names and IP addresses of a certificate, sorted. */
export function namesOf(certificate: X509Certificate): string[] {
  return (certificate.subjectAltName ?? "")
    .split(", ")
    .map((entry) => entry.replace(/^(DNS|IP Address):/, ""))
    .filter((name) => name !== "")
    .sort();
}

const commonNameOf = (certificate: X509Certificate) => /^CN=(.*)$/m.exec(certificate.subject)?.[1];

/**
 * Why a certificate can't serve, in words; undefined if it can.
 * @param key the private key as PEM
 */
export function unfit(
  pem: { certificate: string; ca: string; key: string },
  identity: Pick<ClusterIdentity, "commonName" | "names">,
  now: Date,
): string | undefined {
  const certificate = new X509Certificate(pem.certificate);
  const ca = new X509Certificate(pem.ca);
  if (!certificate.checkPrivateKey(createPrivateKey(pem.key))) return "it belongs to another key";
  if (!certificate.verify(ca.publicKey)) return `it was signed by another authority: ${certificate.issuer}`;
  if (daysLeft(certificate, now) < 0) return `it ended on ${certificate.validTo}`;
  if (Date.parse(certificate.validFrom) > now.getTime())
    return `it begins on ${certificate.validFrom}, and this host's clock says ${now.toISOString()}`;
  if (commonNameOf(certificate) !== identity.commonName)
    return `it is for ${commonNameOf(certificate)}, not ${identity.commonName}`;
  const wanted = [...identity.names].map((name) => (isIP(name) === 6 ? canonicalIp(name) : name)).sort();
  const found = namesOf(certificate).map((name) => (isIP(name) === 6 ? canonicalIp(name) : name));
  if (wanted.join() !== found.sort().join()) return `it names ${found.join(", ")}, not ${wanted.join(", ")}`;
  return undefined;
}

/** One spelling of an IPv6 address: openssl prints no shortened ones. */
function canonicalIp(address: string): string {
  return new URL(`http://[${address}]/`).hostname;
}
