/** The files of a Core Lightning release, and what makes one genuine. */
import { Refusal } from "../../stage.ts";

/** Oldest glibc that an archive runs on: that of the Ubuntu release it was built on. */
const BUILDS = [
  { ubuntu: "24.04", glibc: [2, 39] },
  { ubuntu: "22.04", glibc: [2, 35] },
] as const;

export interface ReleaseFiles {
  archive: string;
  checksums: string;
  signature: string;
}

/**
 * @param architecture as Node names it (process.arch)
 * @param glibc e.g. "2.41"
 */
export function releaseFiles(version: string, architecture: string, glibc: string): ReleaseFiles {
  if (architecture !== "x64")
    throw new Refusal({
      code: "release-architecture",
      what: `Core Lightning ${version} has no release archive for this host's processor`,
      received: architecture,
      why: "the project publishes archives for amd64 only",
      fix: "build it, pack usr/bin and usr/libexec like the release, and declare it as { archive, sha256 }",
    });
  const [major = 0, minor = 0] = glibc.split(".").map(Number);
  const build = BUILDS.find(({ glibc: [x, y] }) => major > x || (major === x && minor >= y));
  if (!build)
    throw new Refusal({
      code: "release-glibc",
      what: `the archives of Core Lightning ${version} don't run on this host`,
      received: `glibc ${glibc}`,
      why: "the oldest one is built for Ubuntu 22.04, glibc 2.35",
      fix: "use Debian 12 or newer, Ubuntu 22.04 or newer, or declare an archive built for this host",
    });
  return {
    archive: `clightning-${version}-Ubuntu-${build.ubuntu}-amd64.tar.xz`,
    checksums: `SHA256SUMS-${version}`,
    signature: `SHA256SUMS-${version}.asc`,
  };
}

/** The checksum of `file` in the output format of sha256sum(1), undefined if it isn't listed. */
export function parseChecksum(sums: string, file: string): string | undefined {
  for (const line of sums.split("\n")) {
    const match = /^([0-9a-f]{64}) [ *](.+)$/.exec(line);
    if (match && match[2] === file) return match[1];
  }
  return undefined;
}

/** Fingerprints of the primary keys in `gpg --show-keys --with-colons` (GnuPG's doc/DETAILS). */
export function parsePrimaryFingerprints(colons: string): string[] {
  const found: string[] = [];
  let primary = false;
  for (const line of colons.split("\n")) {
    const fields = line.split(":");
    if (fields[0] === "pub") primary = true;
    else if (fields[0] === "sub") primary = false;
    else if (fields[0] === "fpr" && primary) {
      found.push(fields[9] ?? "");
      primary = false;
    }
  }
  return found;
}

/**
 * Judges gpgv's `--status-fd` lines. A release carries signatures of several people: those whose key isn't declared
 * count for nothing, one that is bad condemns the file.
 * @returns undefined if the declared key signed the file, else what is wrong.
 */
export function judgeSignature(status: string, fingerprint: string): string | undefined {
  const lines = status
    .split("\n")
    .filter((line) => line.startsWith("[GNUPG:] "))
    .map((line) => line.slice("[GNUPG:] ".length).split(" "));
  const bad = lines.find(([word]) => word === "BADSIG");
  if (bad) return `the signature of ${bad.slice(2).join(" ") || bad[1]} does not fit the file`;
  const spoiled = lines.find(([word]) => word === "EXPSIG" || word === "EXPKEYSIG" || word === "REVKEYSIG");
  // VALIDSIG's last field is the primary key's fingerprint; GOODSIG says that neither key nor signature has expired.
  const valid = lines.some(([word, ...fields]) => word === "VALIDSIG" && fields.at(-1) === fingerprint);
  const good = lines.some(([word]) => word === "GOODSIG");
  if (valid && good) return undefined;
  if (spoiled) return `the signature or its key has expired or was revoked (${spoiled.join(" ")})`;
  const strangers = lines.filter(([word]) => word === "NO_PUBKEY").map(([, key]) => key);
  return strangers.length > 0 ? `it is signed by other keys only: ${strangers.join(", ")}` : "it carries no signature";
}
