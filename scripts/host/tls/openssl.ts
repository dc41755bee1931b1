/** The few things that openssl(1) does here: Node reads certificates and makes none. */
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { isIP } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fillTemplate } from "../../../templates/load.ts";
import type { ClusterIdentity } from "../contract.ts";
import { must } from "../process.ts";

/** How long a member's certificate is good; `./twofold certificates renew` makes new ones, and `status` tells how long is left. */
const DAYS = 397;
/** The authority outlives the hosts; its key never leaves its host. */
const AUTHORITY_DAYS = 3650;
/** A host whose clock is a little behind must not take a new certificate for one of the future. */
const BACKDATED_MS = 3_600_000;

const CURVE = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

/** A private key at `path`, mode 0600 (openssl-genpkey(1) writes it so). */
export async function makeKey(path: string): Promise<void> {
  await must("openssl", ["genpkey", ...CURVE, "-out", path]);
}

/** A request for a certificate over the key at `key`, as PEM. */
export async function makeRequest(key: string, commonName: string): Promise<string> {
  return must("openssl", ["req", "-new", "-key", key, "-subj", `/CN=${commonName}`]);
}

/** A self-signed certificate over the authority's key, as PEM. */
export async function makeAuthority(key: string, commonName: string): Promise<string> {
  return must("openssl", [
    ...["req", "-x509", "-key", key, "-days", `${AUTHORITY_DAYS}`, "-subj", `/CN=${commonName}`],
    ...["-addext", "basicConstraints=critical,CA:TRUE,pathlen:0", "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
  ]);
}

/** The certificate's extensions. Names come from the topology, never from the request. Pure. */
export function renderExtensions({ role, names }: Pick<ClusterIdentity, "role" | "names">): string {
  return fillTemplate("tls-extensions.cnf", {
    usage: role === "node" ? "clientAuth" : "serverAuth,clientAuth",
    names: names.map((name) => `${isIP(name) === 0 ? "DNS" : "IP"}:${name}`).join(","),
  });
}

/** openssl's own form of a time: 20261123T… without separators. Pure. */
export function asn1Time(date: Date): string {
  return `${date.toISOString().replace(/[-:T]|\.\d+/g, "")}`;
}

/** Signs a request with the authority's key; returns the certificate as PEM. */
export async function signRequest(
  request: string,
  identity: Pick<ClusterIdentity, "role" | "names">,
  authority: { key: string; certificate: string },
): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "twofold-sign-"));
  try {
    const at = (name: string) => join(directory, name);
    // openssl-x509(1) can't say when a certificate begins before OpenSSL 3.4; openssl-ca(1) can, and wants a database for it.
    await writeFile(at("ca.cnf"), fillTemplate("tls-ca.cnf", { directory }));
    await writeFile(at("index.txt"), "");
    await writeFile(at("serial"), `${randomBytes(16).toString("hex")}\n`);
    await writeFile(at("extensions.cnf"), renderExtensions(identity));
    await writeFile(at("request.pem"), request);
    const now = Date.now();
    await must("openssl", [
      ...["ca", "-batch", "-notext", "-config", at("ca.cnf"), "-extfile", at("extensions.cnf")],
      ...[
        "-cert",
        authority.certificate,
        "-keyfile",
        authority.key,
        "-in",
        at("request.pem"),
        "-out",
        at("signed.pem"),
      ],
      ...["-startdate", asn1Time(new Date(now - BACKDATED_MS))],
      ...["-enddate", asn1Time(new Date(now + DAYS * 86_400_000))],
    ]);
    return await readFile(at("signed.pem"), "utf8");
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
