/** Which provider plugin the engine is going to use: the official one, or this project's stand-in. */
import { accessSync, constants, existsSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { Refusal } from "../scripts/host/stage.ts";

export interface Plugin {
  name: string;
  path: string;
  /** True for a stand-in: a file STANDIN lies beside its executable (scripts/standins/README.md). */
  standin: boolean;
}

/**
 * Finds a plugin as the engine does: on PATH first, then among the installed ones.
 *
 * @returns undefined where the engine would have to fetch the official one.
 */
export function findPlugin(
  name: string,
  version: string,
  environment: { PATH?: string | undefined; PULUMI_HOME?: string | undefined } = process.env,
): Plugin | undefined {
  const executable = `pulumi-resource-${name}`;
  const home = environment.PULUMI_HOME || join(homedir(), ".pulumi");
  const directories = [
    ...(environment.PATH ?? "").split(delimiter).filter((directory) => directory !== ""),
    join(home, "plugins", `resource-${name}-v${version}`),
  ];
  const path = directories.map((directory) => join(directory, executable)).find(isExecutable);
  return path === undefined ? undefined : { name, path, standin: existsSync(join(dirname(path), "STANDIN")) };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The versions that the SDKs in package.json ask the engine for. */
const VERSIONS = { command: "1.2.1", docker: "5.0.0" } as const;

/**
 * Says that a stand-in is at work, and refuses one for a real node.
 *
 * @throws {Refusal}
 */
export function checkPlugins(stack: { lab: boolean; allowStandins: boolean }): void {
  const needed = stack.lab ? (["command", "docker"] as const) : (["command"] as const);
  const standins = needed.flatMap((name) => {
    const plugin = findPlugin(name, VERSIONS[name]);
    return plugin?.standin === true ? [plugin] : [];
  });
  for (const { name, path } of standins) {
    if (!stack.lab && !stack.allowStandins) {
      throw new Refusal({
        code: "PLUGIN_STANDIN",
        what: `the provider plugin '${name}' is this project's stand-in, and this stack is no lab`,
        received: path,
        why: "the stand-ins are made for labs and tests; a real node is provisioned with the official plugin",
        fix: `pulumi plugin install resource ${name} v${VERSIONS[name as keyof typeof VERSIONS]}, and take the stand-in off PATH; or set twofold:allowStandins`,
      });
    }
    void pulumi.log.warn(`a stand-in is at work for the provider plugin '${name}': ${path}`);
  }
}
