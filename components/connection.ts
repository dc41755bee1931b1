/** How the Pulumi provider reaches a host over SSH, and what identifies the machine behind the address. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { types } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { Refusal } from "../scripts/host/stage.ts";
import { operatorPath } from "./topology/operator-path.ts";
import type { HostSpec } from "./topology/schema.ts";

/**
 * Dial attempts before the provider gives up. Its waits grow from 0.1 s to 5 s, so a host that is still booting has about
 * 30 s while it refuses connections, and a host that swallows packets is given up after less than two minutes.
 */
const DIAL_ATTEMPTS = 14;
const DIAL_TIMEOUT_SECONDS = 5;

/**
 * The provider's connection to a host.
 *
 * Every value of it is known at preview: an unknown inside a connection makes Pulumi print the private key. Without
 * `identityFile` the provider asks the SSH agent; the agent's socket is left out on purpose, since its path changes
 * with each login and a changed connection runs every stage again.
 *
 * @throws {Refusal} if the private key can't be read, or if neither a key nor an agent is there.
 */
export function connectionOf(hostName: string, host: HostSpec): types.input.remote.ConnectionArgs {
  const connection = {
    host: host.address,
    port: host.port,
    user: host.user,
    hostKey: host.hostKey,
    dialErrorLimit: DIAL_ATTEMPTS,
    perDialTimeout: DIAL_TIMEOUT_SECONDS,
  };
  if (host.identityFile !== undefined) {
    return { ...connection, privateKey: pulumi.secret(readPrivateKey(hostName, host.identityFile)) };
  }
  if (process.env.SSH_AUTH_SOCK === undefined || process.env.SSH_AUTH_SOCK === "") {
    throw new Refusal({
      code: "connection/no-key",
      what: `there is no SSH key with which to log in to host ${hostName}`,
      received: `no twofold:hosts.${hostName}.identityFile, and no SSH_AUTH_SOCK in the environment`,
      why: "every stage reaches its host over SSH",
      fix: `start an SSH agent (eval "$(ssh-agent)"; ssh-add), or set identityFile for ${hostName}`,
    });
  }
  return connection;
}

function readPrivateKey(hostName: string, file: string): string {
  const path = operatorPath(file);
  const refuse = (received: string, fix: string) =>
    new Refusal({
      code: "connection/identity-file",
      what: `the private SSH key of host ${hostName} can't be used`,
      received: `${path}: ${received}`,
      why: "every stage reaches its host over SSH with this key",
      fix,
    });
  let key: string;
  try {
    key = readFileSync(path, "utf8");
  } catch (error) {
    throw refuse(
      (error as NodeJS.ErrnoException).code ?? String(error),
      `set twofold:hosts.${hostName}.identityFile to a readable private key, or leave it out to use the SSH agent`,
    );
  }
  if (!key.includes("PRIVATE KEY-----")) {
    throw refuse(
      "not a private key",
      "name the file without '.pub'; formats that OpenSSH writes are accepted (ssh-keygen -t ed25519)",
    );
  }
  if (isPassphraseProtected(key)) {
    throw refuse(
      "protected by a passphrase, which can't be asked for here",
      "add it to the SSH agent (ssh-add) and leave identityFile out",
    );
  }
  return key;
}

/**
 * Tells a key under a passphrase: PEM says so in a header, OpenSSH's own format in its cipher name
 * (PROTOCOL.key in OpenSSH's source: magic "openssh-key-v1\0", then the cipher's name, "none" without a passphrase).
 */
export function isPassphraseProtected(key: string): boolean {
  if (/^Proc-Type: 4,ENCRYPTED/m.test(key) || key.includes("BEGIN ENCRYPTED PRIVATE KEY")) {
    return true;
  }
  const body = /-----BEGIN OPENSSH PRIVATE KEY-----([\s\S]*?)-----END/.exec(key)?.[1];
  if (body === undefined) {
    return false;
  }
  const bytes = Buffer.from(body, "base64");
  const cipherAt = "openssh-key-v1\0".length;
  if (bytes.length < cipherAt + 4) {
    return false;
  }
  const length = bytes.readUInt32BE(cipherAt);
  return bytes.toString("latin1", cipherAt + 4, cipherAt + 4 + length) !== "none";
}

/**
 * Fingerprint of a public host key as ssh-keygen -l prints it. It stands for the machine: a host that was rebuilt has
 * another key, and what depends on this value is provisioned again.
 */
export function hostKeyFingerprint(hostKey: string): string {
  const blob = Buffer.from(hostKey.split(" ")[1] ?? "", "base64");
  return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}
