/** Runs a stand-in for the engine that started this process. */
import * as log from "@pulumi/pulumi/log/index.js";
import {
  type CheckResult,
  type CreateResult,
  type DiffResult,
  main,
  type ReadResult,
  type UpdateResult,
} from "@pulumi/pulumi/provider/index.js";
import { DependencyResource } from "@pulumi/pulumi/resource.js";
import { resetOptions } from "@pulumi/pulumi/runtime/settings.js";
import { type Properties, typeOf } from "./wire.ts";

/** Shows one line beside the resource in Pulumi's progress display; it does not stay in the summary. */
export type Progress = (line: string) => Promise<void>;

/** What one type of resource does; the engine's calls are handed on to it. Nothing but `check` and `diff` runs in a preview. */
export interface ResourceKind {
  check(inputs: Properties): CheckResult;
  diff(state: Properties, inputs: Properties): DiffResult;
  create(name: string, inputs: Properties, progress: Progress): Promise<CreateResult>;
  /** Left out where the real plugin reads nothing: then a refresh believes the state. */
  read?(id: string, state: Properties): Promise<ReadResult>;
  update(id: string, state: Properties, inputs: Properties, progress: Progress): Promise<UpdateResult>;
  delete(id: string, state: Properties, progress: Progress): Promise<void>;
}

export interface StandIn {
  /** Name of the plugin that this one stands in for. */
  plugin: string;
  /** Its version whose behaviour is kept; the engine compares it with what the program asks for. */
  version: string;
  /** By type token, e.g. command:remote:Command. */
  resources: Readonly<Record<string, ResourceKind>>;
  /** Called when the operator interrupts Pulumi. */
  cancel?(): void;
}

/** Serves until the engine ends this process. `args` are those of the process: the last is the engine's address. */
export async function serve(standIn: StandIn, args: string[]): Promise<void> {
  // Pulumi's SDK does this only for providers that make resources of their own; without it there is no engine to log to.
  resetOptions("", "", -1, args.at(-1) ?? "", "", false, "");
  // The SDK also prints every error that it hands to the engine, with its stack: the operator would see each one twice.
  console.error = () => {};

  const kindOf = (urn: string): ResourceKind => {
    const type = typeOf(urn);
    const kind = standIn.resources[type];
    if (kind !== undefined) return kind;
    throw new Error(
      `the stand-in for the ${standIn.plugin} plugin does not make ${type}, only ` +
        `${Object.keys(standIn.resources).join(" and ")}; use Pulumi's own plugin (scripts/standins/README.md)`,
    );
  };
  const nameOf = (urn: string): string => urn.split("::").slice(3).join("::");
  const progressOf = (urn: string): Progress => {
    const resource = new DependencyResource(urn);
    return (line) => log.info(line, resource, 0, true);
  };
  let said: Promise<void> | undefined;
  const say = (): Promise<void> => {
    said ??= log.info(
      `a stand-in for the ${standIn.plugin} plugin ${standIn.version} is at work (scripts/standins/README.md)`,
    );
    return said;
  };

  await main(
    {
      version: standIn.version,
      check: async (urn, _olds, news) => {
        await say();
        return kindOf(urn).check(news);
      },
      diff: async (_id, urn, olds, news) => kindOf(urn).diff(olds, news),
      create: (urn, inputs) => kindOf(urn).create(nameOf(urn), inputs, progressOf(urn)),
      read: async (id, urn, props) => (await kindOf(urn).read?.(id, props)) ?? { id, props },
      update: (id, urn, olds, news) => kindOf(urn).update(id, olds, news, progressOf(urn)),
      delete: (id, urn, props) => kindOf(urn).delete(id, props, progressOf(urn)),
      cancel: async () => standIn.cancel?.(),
    },
    args,
  );
}
