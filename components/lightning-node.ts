/** lightningd on its host: programs, config, unit. */
import { CopyToRemote } from "@pulumi/command/remote/copyToRemote.js";
import * as pulumi from "@pulumi/pulumi";
import type { LightningdDocument } from "../scripts/host/contract.ts";
import { HostStage, type HostStageArgs } from "./host-stage.ts";

export interface LightningNodeArgs extends HostStageArgs<LightningdDocument> {
  /**
   * A file of this machine that the stage reads on the host: an archive of lightningd, the key of a release's signer.
   * @default the stage fetches what it needs, or it is installed already
   */
  upload?: { file: string; remotePath: string };
}

/**
 * The only stage with a `delete`: destroying the stack stops lightningd, waits for it, and leaves wallet and copies.
 * A first start is never a side effect of it (`./twofold init`).
 */
export class LightningNode extends HostStage<LightningdDocument> {
  constructor(name: string, args: LightningNodeArgs, options?: pulumi.ComponentResourceOptions) {
    const { host, upload } = args;
    super("twofold:host:LightningNode", name, args, options, {
      stop: host.run("stop", "lightningd"),
      after: (parent) =>
        upload === undefined
          ? []
          : [
              new CopyToRemote(
                `${name}-upload`,
                {
                  connection: host.connection,
                  source: new pulumi.asset.FileAsset(upload.file),
                  remotePath: upload.remotePath,
                  triggers: [host.machine],
                },
                { parent, dependsOn: [host.program, ...(args.after ?? [])] },
              ),
            ],
    });
  }
}
