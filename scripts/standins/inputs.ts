/**
 * Checks a resource's inputs against what a stand-in takes. What it does not know is refused by name: an input that is
 * silently dropped would make the lab something else than what the real plugin makes of it.
 */
import type { CheckFailure } from "@pulumi/pulumi/provider/index.js";
import { isFileAsset, isRecord, isUnknown, type Properties, plain } from "./wire.ts";

export type Shape =
  | "string"
  | "number"
  | "boolean"
  | "anything"
  | "file asset"
  | { oneOf: readonly string[] }
  | { list: Shape }
  | { map: Shape }
  | ObjectShape;

export interface ObjectShape {
  object: Readonly<Record<string, Shape>>;
  required: readonly string[];
}

/** Every way in which `inputs` is not of the shape, in the order of the inputs. Values are not shown: they may be secret. */
export function checkInputs(inputs: Properties, shape: ObjectShape, resourceType: string): CheckFailure[] {
  return problemsOf(plain(inputs), shape, "", resourceType);
}

function problemsOf(value: unknown, shape: Shape, path: string, resourceType: string): CheckFailure[] {
  if (isUnknown(value) || shape === "anything") return [];
  const wrong = (expected: string): CheckFailure[] => [
    { property: path, reason: `${path} of ${resourceType} must be ${expected}, received ${describe(value)}` },
  ];
  if (shape === "file asset") return isFileAsset(value) ? [] : wrong("a FileAsset (the stand-in copies nothing else)");
  if (typeof shape === "string") return typeof value === shape ? [] : wrong(`a ${shape}`);
  if ("oneOf" in shape) {
    return shape.oneOf.includes(value as string) ? [] : wrong(`one of ${shape.oneOf.join(", ")}`);
  }
  if ("list" in shape) {
    if (!Array.isArray(value)) return wrong("a list");
    return value.flatMap((item, index) => problemsOf(item, shape.list, `${path}[${index}]`, resourceType));
  }
  if (!isRecord(value)) return wrong("an object");
  const inside = (key: string): string => (path === "" ? key : `${path}.${key}`);
  if ("map" in shape) {
    return Object.entries(value).flatMap(([key, item]) => problemsOf(item, shape.map, inside(key), resourceType));
  }
  const known = Object.keys(shape.object);
  const unknown = Object.keys(value)
    .filter((key) => !known.includes(key))
    .map((key) => ({
      property: inside(key),
      reason:
        `the stand-in for ${resourceType} does not take ${inside(key)}, and dropping it would change what is made; ` +
        `it takes ${known.join(", ")}. Leave it out, teach the stand-in (scripts/standins), or use Pulumi's own plugin`,
    }));
  const missing = shape.required
    .filter((key) => value[key] === undefined)
    .map((key) => ({ property: inside(key), reason: `${resourceType} needs ${inside(key)}, received none` }));
  const nested = Object.entries(shape.object).flatMap(([key, inner]) =>
    value[key] === undefined ? [] : problemsOf(value[key], inner, inside(key), resourceType),
  );
  return [...unknown, ...missing, ...nested];
}

function describe(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
