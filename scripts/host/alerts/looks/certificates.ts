/** How long the host's certificates of the cluster last. */
import { X509Certificate } from "node:crypto";
import { CERTIFICATE_ROLES, TLS, tlsFiles } from "../../contract.ts";
import { readText } from "../../read.ts";
import { daysLeft, RENEW_DAYS } from "../../tls/certificate.ts";
import type { Condition } from "../alert.ts";

const AUTHORITY = "the cluster's authority";

/** @param pem by what it is for */
export function judgeCertificates(pem: ReadonlyMap<string, string>, now: Date): Condition[] {
  return [...pem].flatMap(([what, text]) => {
    const certificate = new X509Certificate(text);
    const days = daysLeft(certificate, now);
    if (days >= RENEW_DAYS) return [];
    const fix =
      text === pem.get(AUTHORITY)
        ? "move /etc/twofold/ca away on the node's host, then ./twofold certificates renew --new-authority: commits stop until every host has its new certificates"
        : undefined;
    const value = `${days < 0 ? "it ended" : `it ends in ${days} days,`} on ${certificate.validTo}`;
    return [
      { code: "CERTIFICATE_ENDS" as const, subject: `the certificate of ${what}`, value, ...(fix ? { fix } : {}) },
    ];
  });
}

export async function lookAtCertificates(now: Date): Promise<Condition[]> {
  const files = new Map([
    [AUTHORITY, TLS.ca],
    ...CERTIFICATE_ROLES.map((role): [string, string] => [`role ${role}`, tlsFiles(role).certificate]),
  ]);
  const pem = new Map<string, string>();
  for (const [what, path] of files) {
    const text = await readText(path);
    if (text !== undefined) pem.set(what, text);
  }
  return judgeCertificates(pem, now);
}
