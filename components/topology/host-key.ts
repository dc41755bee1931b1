/** Public SSH host keys as they are pinned: what the base64 holds (RFC 4253, 6.6; RFC 5656, 3.1; RFC 8709, 4). */

/** Bytes of an Ed25519 key. */
const ED25519_BYTES = 32;
/** Bytes of an uncompressed point on each curve (SEC 1, 2.3.3). */
const POINT_BYTES: Record<string, number> = { nistp256: 65, nistp384: 97, nistp521: 133 };
/** OpenSSH takes no RSA key below 1024 bits, and none above 16384 (RequiredRSASize, SSHBUF_MAX_BIGNUM). */
const RSA_BYTES = { least: 1024 / 8, most: 16384 / 8 };

/**
 * What is wrong with a key of the form "TYPE BASE64". Nothing is wrong where the base64 holds one whole key of that very type; a key
 * that was cut off or stuck together while it was copied would only be noticed when the host is dialled.
 */
export function hostKeyProblem(key: string): string | undefined {
  const [type = "", base64 = ""] = key.split(" ");
  const bytes = Buffer.from(base64, "base64");
  if (bytes.toString("base64").replace(/=+$/, "") !== base64.replace(/=+$/, "")) {
    return "the key is no base64: letters of it are missing, or were added";
  }
  const fields = fieldsOf(bytes);
  if (fields === undefined) return "the key is cut off, or something stands behind it";
  const [named = Buffer.alloc(0), ...rest] = fields;
  if (named.toString() !== type) return `the key is of type '${named.toString()}', and '${type}' stands before it`;
  return isWhole(type, rest) ? undefined : `it is no whole key of type ${type}`;
}

/** The strings that follow each other, each after its length; undefined if they don't end where the bytes end. */
function fieldsOf(bytes: Buffer): Buffer[] | undefined {
  const fields: Buffer[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (at + 4 > bytes.length) return undefined;
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end > bytes.length) return undefined;
    fields.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return fields;
}

function isWhole(type: string, fields: Buffer[]): boolean {
  const lengths = fields.map(({ length }) => length);
  const [first = 0, second = 0] = lengths;
  if (type === "ssh-ed25519") return lengths.length === 1 && first === ED25519_BYTES;
  if (lengths.length !== 2) return false;
  // Exponent and modulus; a leading zero keeps the modulus positive.
  if (type === "ssh-rsa") return first > 0 && second >= RSA_BYTES.least && second <= RSA_BYTES.most + 1;
  const curve = fields[0]?.toString() ?? "";
  return type === `ecdsa-sha2-${curve}` && second === POINT_BYTES[curve];
}
