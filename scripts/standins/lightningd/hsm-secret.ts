/**
 * The file hsm_secret and the node id that follows from it, derived as Core Lightning's hsmd derives it (hsmd/libhsmd.c, node_key), so
 * that one file gives one identity with the lab daemon and with the real one.
 *
 * Kept as they are there: a missing file is made, its mode is not checked. Not kept: a new file is the plain form of 32 bytes (the real
 * daemon writes twelve words since v25.12), and a mnemonic's words are not looked up in BIP-39's list.
 */
import { createECDH, hkdfSync, pbkdf2Sync, randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { Failure, STATUS } from "./failure.ts";

/** A seed of 32 bytes as it is. */
const PLAIN_BYTES = 32;
/** A seed encrypted by libsodium's secretstream: header 24, seed 32, tag 17. */
const ENCRYPTED_BYTES = 73;
/** A mnemonic file starts with the seed's SHA-256 if it has a passphrase, and with zeros if not. */
const SEED_HASH_BYTES = 32;

const PASSPHRASE_REQUIRED = "Failed to load hsm_secret: Passphrase required but not provided";

/** The first 32 bytes of the seed in the content of an hsm_secret. Throws {@link Failure} with lightningd's exit status. */
export function readSeed(content: Buffer): Buffer {
  if (content.length < PLAIN_BYTES)
    throw new Failure("Failed to load hsm_secret: Invalid hsm_secret format", STATUS.invalidHsmSecret);
  if (content.length === PLAIN_BYTES) return content;
  if (content.length === ENCRYPTED_BYTES) throw new Failure(PASSPHRASE_REQUIRED, STATUS.passphraseRequired);
  if (content.subarray(0, SEED_HASH_BYTES).some((byte) => byte !== 0))
    throw new Failure(PASSPHRASE_REQUIRED, STATUS.passphraseRequired);
  const mnemonic = content.subarray(SEED_HASH_BYTES).toString("utf8");
  const words = mnemonic.split(" ");
  if (![12, 15, 18, 21, 24].includes(words.length) || !words.every((word) => /^[a-z]{3,8}$/.test(word)))
    throw new Failure("Failed to load hsm_secret: Invalid mnemonic", STATUS.invalidMnemonic);
  // BIP-39, "From mnemonic to seed", with an empty passphrase.
  return pbkdf2Sync(mnemonic, "mnemonic", 2048, 64, "sha512").subarray(0, PLAIN_BYTES);
}

/** The node's public key, 66 hexadecimal digits. */
export function nodeId(seed: Buffer): string {
  for (let counter = 0; ; counter++) {
    const salt = Buffer.alloc(4);
    salt.writeUInt32LE(counter);
    const curve = createECDH("secp256k1");
    try {
      curve.setPrivateKey(Buffer.from(hkdfSync("sha256", seed, salt, "nodeid", 32)));
    } catch {
      continue; // No valid private key, one time in 2^127: the next salt.
    }
    return curve.getPublicKey("hex", "compressed");
  }
}

/** Makes the file `hsm_secret` in the working directory if it is missing; true if it was made. */
export function createIfMissing(): boolean {
  let file: number;
  try {
    file = openSync("hsm_secret", "wx", 0o400);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw new Failure(`creating: ${(error as Error).message}`);
  }
  writeSync(file, randomBytes(PLAIN_BYTES));
  fsyncSync(file);
  closeSync(file);
  const directory = openSync(".", "r");
  fsyncSync(directory);
  closeSync(directory);
  return true;
}

/** Reads the file `hsm_secret` in the working directory. */
export function loadSeed(): Buffer {
  let content: Buffer;
  try {
    content = readFileSync("hsm_secret");
  } catch (error) {
    throw new Failure(`Could not read hsm_secret: ${(error as Error).message}`, STATUS.invalidHsmSecret);
  }
  return readSeed(content);
}
