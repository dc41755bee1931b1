/** A host that gets into other hosts with a key of its own, made there: only the public half travels. */
import { Command } from "@pulumi/command/remote/command.js";
import * as pulumi from "@pulumi/pulumi";
import { childOptions, type NodeHost } from "./node-host.ts";

export interface PeerAccessArgs {
  /** The host whose key it is. */
  source: NodeHost;
  /** Words of the host program's command that prints the public key, and makes it if there is none. */
  print: string[];
  /** The hosts that let it in, each with the words of the command that takes the key on its standard input. */
  targets: { host: NodeHost; authorize: string[] }[];
  /** What has to be in place before: the accounts on the targets. */
  after: pulumi.Resource[];
}

/**
 * Unlike a stage, these commands have `triggers`: they take no machine among their words, have no `delete` that a replacement
 * could run, and a rebuilt host on either side needs the key brought again.
 */
export class PeerAccess extends pulumi.ComponentResource {
  /** Known once they were carried out, unlike the component itself. */
  readonly commands: readonly Command[];

  constructor(name: string, args: PeerAccessArgs, options?: pulumi.ComponentResourceOptions) {
    super("twofold:host:PeerAccess", name, {}, options);
    const { source, targets } = args;
    const key = new Command(
      `${name}-key`,
      {
        connection: source.connection,
        create: source.run(...args.print),
        addPreviousOutputInEnv: false,
        triggers: [source.machine],
      },
      { ...childOptions(this, source), dependsOn: [source.program, ...args.after] },
    );
    const authorized = targets.map(
      ({ host, authorize }) =>
        new Command(
          `${name}-${host.hostName}`,
          {
            connection: host.connection,
            create: host.run(...authorize),
            stdin: key.stdout,
            addPreviousOutputInEnv: false,
            triggers: [host.machine, source.machine],
          },
          { ...childOptions(this, host), dependsOn: [host.program, key, ...args.after] },
        ),
    );
    this.commands = [key, ...authorized];
    this.registerOutputs({});
  }
}
