/** A host's certificates of the cluster: keys are made there and stay; requests go to the authority's host, certificates come back. */
import { Command } from "@pulumi/command/remote/command.js";
import * as pulumi from "@pulumi/pulumi";
import type { ClusterIdentity } from "../scripts/host/contract.ts";
import { childOptions, type NodeHost } from "./node-host.ts";

export interface ClusterCertificatesArgs {
  host: NodeHost;
  /** The host whose key signs. */
  authority: NodeHost;
  cluster: string;
  identities: ClusterIdentity[];
  /** What has to be in place before: both hosts' base. */
  after: pulumi.Resource[];
}

/**
 * Run again for other names and for a machine that was made anew. What travels is public: requests and certificates.
 * Certificates that still serve stay as they are, so a lost Pulumi state changes nothing (scripts/host/tls/store.ts).
 */
export class ClusterCertificates extends pulumi.ComponentResource {
  /** Known once they were carried out, unlike the component itself. */
  readonly commands: readonly Command[];

  constructor(name: string, args: ClusterCertificatesArgs, options?: pulumi.ComponentResourceOptions) {
    super("twofold:host:ClusterCertificates", name, {}, options);
    const { host, authority, cluster, identities } = args;
    const request = new Command(
      `${name}-request`,
      {
        connection: host.connection,
        create: host.run("tls-request"),
        stdin: JSON.stringify({ host: host.hostName, identities }),
        addPreviousOutputInEnv: false,
        // No secret, but a screenful that tells an operator nothing.
        logging: "none",
        triggers: [host.machine],
      },
      { ...childOptions(this, host), dependsOn: [host.program, ...args.after] },
    );
    const sign = new Command(
      `${name}-sign`,
      {
        connection: authority.connection,
        create: authority.run("tls-sign"),
        stdin: request.stdout.apply((line) =>
          JSON.stringify({ cluster, identities, requests: (JSON.parse(line) as { requests: unknown }).requests }),
        ),
        addPreviousOutputInEnv: false,
        logging: "none",
        triggers: [host.machine, authority.machine],
      },
      { ...childOptions(this, authority), dependsOn: [authority.program, request, ...args.after] },
    );
    const install = new Command(
      `${name}-install`,
      {
        connection: host.connection,
        create: host.run("tls-install"),
        stdin: sign.stdout.apply((line) => JSON.stringify({ identities, ...(JSON.parse(line) as object) })),
        addPreviousOutputInEnv: false,
        triggers: [host.machine, authority.machine],
      },
      { ...childOptions(this, host), dependsOn: [host.program, sign] },
    );
    this.commands = [request, sign, install];
    this.registerOutputs({});
  }
}
