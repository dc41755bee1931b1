/** Which stack a verb is about, and where its config lies. */
import { existsSync, readdirSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { Refusal } from "../host/stage.ts";

/** What the operator said: `-s`, `--config-file`. */
export interface StackChoice {
  stack?: string | undefined;
  configFile?: string | undefined;
}

export interface StackPlaces {
  /** The folder with Pulumi.yaml. */
  project: string;
  /** The folder that holds one folder a lab. */
  labs: string;
}

/**
 * The config file of the chosen stack: `--config-file`, else `-s`, else `$PULUMI_STACK`, else the only one that there is.
 *
 * @throws {Refusal} naming the stacks that there are, if the choice is missing, ambiguous or unknown.
 */
export function locateStack(
  choice: StackChoice,
  places: StackPlaces,
  environment: { PULUMI_STACK?: string | undefined } = process.env,
): string {
  if (choice.configFile !== undefined) {
    const configFile = resolve(choice.configFile);
    if (!existsSync(configFile)) {
      throw new Refusal({
        code: "stack/config-file",
        what: "the config file named by --config-file is not there",
        received: configFile,
        why: "the topology is read from it",
        fix: "name an existing Pulumi.STACK.yaml",
      });
    }
    return configFile;
  }
  const found = stacksIn(places);
  const list = found.length === 0 ? "none" : found.map(({ stack }) => stack).join(", ");
  const wanted = choice.stack ?? (environment.PULUMI_STACK || undefined);
  if (wanted !== undefined) {
    // Pulumi also takes ORGANIZATION/PROJECT/STACK; the config file bears the last part alone.
    const name = wanted.split("/").at(-1);
    const match = found.find(({ stack }) => stack === name);
    if (match === undefined) {
      throw new Refusal({
        code: "stack/unknown",
        what: `there is no config of stack ${wanted}`,
        received: choice.stack === undefined ? `PULUMI_STACK=${wanted}` : `-s ${wanted}`,
        why: `neither ${places.project}/Pulumi.${name}.yaml nor ${places.labs}/${name}/ is there; stacks found: ${list}`,
        fix: "name one of these, or write the config (README, 'A real node')",
      });
    }
    return match.configFile;
  }
  const [only, ...others] = found;
  if (only === undefined) {
    throw new Refusal({
      code: "stack/none",
      what: "there is no stack",
      received: `no Pulumi.STACK.yaml in ${places.project}, no lab in ${places.labs}`,
      why: "a verb reads the topology from a stack's config",
      fix: "npm run lab makes one to try; README, 'A real node', says how to write one",
    });
  }
  if (others.length > 0) {
    throw new Refusal({
      code: "stack/ambiguous",
      what: "there are several stacks, and none was chosen",
      received: list,
      why: "a verb works on one stack",
      fix: `choose with -s, e.g. -s ${only.stack}, or set PULUMI_STACK`,
    });
  }
  return only.configFile;
}

interface FoundStack {
  stack: string;
  configFile: string;
}

/** Every stack with a config: the project's own first, then labs; the examples are none. */
function stacksIn(places: StackPlaces): FoundStack[] {
  const own = list(places.project).flatMap((file) => {
    const stack = stackNameOf(file);
    return stack === undefined || stack.startsWith("example")
      ? []
      : [{ stack, configFile: join(places.project, file) }];
  });
  const labs = list(places.labs).flatMap((stack) => {
    const configFile = join(places.labs, stack, `Pulumi.${stack}.yaml`);
    return existsSync(configFile) ? [{ stack, configFile }] : [];
  });
  return [...own, ...labs.filter(({ stack }) => !own.some((other) => other.stack === stack))];
}

function stackNameOf(file: string): string | undefined {
  return /^Pulumi\.(.+)\.ya?ml$/.exec(basename(file))?.[1];
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}
