/** A Pulumi program that declares what `resources.json` in its project says, with the SDKs that twofold's own program uses. */
import { readFileSync } from "node:fs";
import * as command from "@pulumi/command";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { Declaration } from "./standin-project.ts";

const KINDS = {
  Command: command.remote.Command,
  CopyToRemote: command.remote.CopyToRemote,
  Container: docker.Container,
  Network: docker.Network,
};

const declarations = JSON.parse(readFileSync("resources.json", "utf8")) as Declaration[];
const made = new Map<string, pulumi.Resource>();

/** Turns {$secret: value}, {$file: path} and {$output: "resource.property"} into what they stand for. */
function resolve(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(resolve);
  if (typeof value !== "object" || value === null) return value;
  if ("$secret" in value) return pulumi.secret(resolve(value.$secret));
  if ("$file" in value) return new pulumi.asset.FileAsset(value.$file as string);
  if ("$output" in value) {
    const [name = "", property = ""] = String(value.$output).split(".");
    return (made.get(name) as unknown as Record<string, unknown>)[property];
  }
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, resolve(inner)]));
}

for (const { kind, name, inputs, options = {} } of declarations) {
  const Kind = KINDS[kind] as new (
    name: string,
    args: unknown,
    options: pulumi.CustomResourceOptions,
  ) => pulumi.Resource;
  const { dependsOn = [], ...rest } = options;
  const after = dependsOn.map((other) => made.get(other)).filter((other) => other !== undefined);
  made.set(name, new Kind(name, resolve(inputs), { ...rest, dependsOn: after }));
}
