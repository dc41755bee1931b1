/**
 * What Pulumi's engine sends to a provider beside plain JSON: secrets come wrapped, values that a preview does not know
 * come as a marker, a file comes as an object with a signature.
 */
import * as rpc from "@pulumi/pulumi/runtime/rpc.js";

export type Properties = Record<string, unknown>;

/** An asset on the wire. `path` is absolute or relative to the plugin's directory, which is the project's. */
export interface FileAsset {
  path: string;
  /** SHA-256 of the content, taken by the engine. */
  hash: string;
}

export function isRecord(value: unknown): value is Properties {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function hasSignature(value: unknown, signature: string): value is Properties {
  return isRecord(value) && value[rpc.specialSigKey] === signature;
}

export function isSecret(value: unknown): boolean {
  return hasSignature(value, rpc.specialSecretSig);
}

export function isUnknown(value: unknown): boolean {
  return value === rpc.unknownValue;
}

export function isFileAsset(value: unknown): value is Properties & FileAsset {
  return hasSignature(value, rpc.specialAssetSig) && typeof value.path === "string" && value.path !== "";
}

/** Wraps a value as a secret, unless it is one already. */
export function secret(value: unknown): unknown {
  return isSecret(value) ? value : { [rpc.specialSigKey]: rpc.specialSecretSig, value };
}

/** The same value without any wrapper, however deep. For use only: outputs keep the wrapped inputs, so that secrets stay secret. */
export function plain(value: unknown): unknown {
  if (hasSignature(value, rpc.specialSecretSig)) return plain(value.value);
  if (Array.isArray(value)) return value.map(plain);
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

/** The resource's own type, without the types of its parents: TYPE may be PARENT$CHILD. */
export function typeOf(urn: string): string {
  return urn.split("::")[2]?.split("$").pop() ?? "";
}
