/** One host: a pinned SSH connection, the distribution's Node and the host program. */

import type { types } from "@pulumi/command";
import { Command } from "@pulumi/command/remote/command.js";
import { CopyToRemote } from "@pulumi/command/remote/copyToRemote.js";
import * as pulumi from "@pulumi/pulumi";
import { PROGRAM_DIRECTORY } from "../scripts/host/contract.ts";
import { connectionOf, hostKeyFingerprint } from "./connection.ts";
import type { HostSpec } from "./topology/schema.ts";

/** A machine that this stack makes itself, e.g. a container of the lab. */
export interface MadeMachine {
  /** Changes when the machine is made anew. */
  machine: pulumi.Input<string>;
  /** Goes before the host; whatever is on the host is gone with it. */
  resource: pulumi.Resource;
}

export interface NodeHostArgs {
  /** The host's name in the topology. */
  hostName: string;
  /** Where and as whom it is reached. */
  spec: HostSpec;
  /** The host program: a file on this machine and its SHA-256 (scripts/host/build.ts). */
  program: { file: string; sha256: string };
  /** The bootstrap script that installs Node and the launcher (templates/bootstrap.ts). */
  bootstrapScript: string;
  /**
   * The machine, where this stack makes it.
   * @default a machine of its own, known by the fingerprint of its pinned host key
   */
  made?: MadeMachine;
}

/**
 * A host on which stages can be applied.
 *
 * The machine's identity is an argument of every command and a trigger of the copied program, because the provider
 * compares only the program's hash and path: without it a rebuilt host would never get its program
 * (pulumi-command 1.2.1, CopyToRemote).
 */
export class NodeHost extends pulumi.ComponentResource {
  readonly hostName: string;
  readonly connection: types.input.remote.ConnectionArgs;
  readonly machine: pulumi.Output<string>;
  /** The resource with which everything on the host is deleted, if there is one. */
  readonly deletedWith: pulumi.Resource | undefined;
  /** What every stage of this host waits for. */
  readonly program: CopyToRemote;
  readonly #sha256: string;

  constructor(name: string, args: NodeHostArgs, options?: pulumi.ComponentResourceOptions) {
    super("twofold:host:NodeHost", name, {}, options);
    this.hostName = args.hostName;
    this.#sha256 = args.program.sha256;
    this.connection = connectionOf(args.hostName, args.spec);
    this.machine = pulumi.output(args.made?.machine ?? hostKeyFingerprint(args.spec.hostKey));
    this.deletedWith = args.made?.resource;

    const child = childOptions(this, this);
    const bootstrap = new Command(
      `${name}-bootstrap`,
      {
        connection: this.connection,
        create: pulumi.interpolate`sh -s -- ${this.machine}`,
        stdin: args.bootstrapScript,
        addPreviousOutputInEnv: false,
      },
      { ...child, dependsOn: args.made === undefined ? [] : [args.made.resource] },
    );
    this.program = new CopyToRemote(
      `${name}-program`,
      {
        connection: this.connection,
        source: new pulumi.asset.FileAsset(args.program.file),
        remotePath: `${PROGRAM_DIRECTORY}/host-${args.program.sha256}.mjs`,
        triggers: [this.machine, args.program.sha256],
      },
      { ...child, dependsOn: bootstrap },
    );
    this.registerOutputs({ machine: this.machine });
  }

  /** Command line that runs the host program of exactly this version, e.g. `run("stop", "lightningd")`. */
  run(...words: string[]): string {
    return commandLine(this.#sha256, words);
  }

  /**
   * Command line for when a resource is deleted: by the version that is then in use on the host, since the one by which it was
   * made may be gone.
   */
  runAtDelete(...words: string[]): string {
    return commandLine("current", words);
  }
}

const commandLine = (version: string, words: readonly string[]): string =>
  [`${PROGRAM_DIRECTORY}/run`, version, ...words].join(" ");

/** Options of a resource on a host: gone with the machine, where the stack makes it. */
export function childOptions(parent: pulumi.Resource, host: NodeHost): pulumi.CustomResourceOptions {
  return { parent, ...(host.deletedWith === undefined ? {} : { deletedWith: host.deletedWith }) };
}
