/** What the stage components have in common: one remote command that applies one document on one host. */
import { Command } from "@pulumi/command/remote/command.js";
import * as pulumi from "@pulumi/pulumi";
import type { StageDocument } from "../scripts/host/contract.ts";
import { childOptions, type NodeHost } from "./node-host.ts";

export interface HostStageArgs<D extends StageDocument> {
  host: NodeHost;
  /** Desired state of the stage; known at preview and without secrets. */
  document: D;
  /**
   * What has to be in place before: earlier stages of this host, stages of other hosts.
   * @default only the host's program
   */
  after?: pulumi.Resource[];
}

/**
 * Applies a document: the provider runs `create` for a new resource and, as there is no `update`, for every change.
 *
 * The document is the command's `stdin`, so that `pulumi preview --diff` shows a change as a structural diff. There are
 * no `triggers`, which would replace the command: the new one would run first and the old one's `delete` after it.
 */
export abstract class HostStage<D extends StageDocument> extends pulumi.ComponentResource {
  /** Known once they were carried out, unlike the component itself. */
  readonly commands: readonly Command[];

  /** @param stop Command line for when the resource is deleted. */
  protected constructor(
    type: string,
    name: string,
    args: HostStageArgs<D>,
    options?: pulumi.ComponentResourceOptions,
    extra?: { after?: (parent: pulumi.Resource) => pulumi.Resource[]; stop?: string },
  ) {
    super(type, name, {}, options);
    const { host, document } = args;
    const command = new Command(
      `${name}-apply`,
      {
        connection: host.connection,
        create: pulumi.interpolate`${host.run("apply", document.stage)} ${host.machine}`,
        stdin: JSON.stringify(document),
        addPreviousOutputInEnv: false,
        ...(extra?.stop === undefined ? {} : { delete: extra.stop }),
      },
      {
        ...childOptions(this, host),
        dependsOn: [host.program, ...(args.after ?? []), ...(extra?.after?.(this) ?? [])],
      },
    );
    this.commands = [command];
    this.registerOutputs({});
  }
}
