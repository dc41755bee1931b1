/** lightningd on its host: programs, config, unit. */
import { CopyToRemote } from "@pulumi/command/remote/copyToRemote.js";
import * as pulumi from "@pulumi/pulumi";
import type { LightningdDocument } from "../scripts/host/contract.ts";
import { HostStage, type HostStageArgs } from "./host-stage.ts";
import { childOptions } from "./node-host.ts";
import { operatorPath } from "./topology/operator-path.ts";
import type { Upload } from "./topology/places.ts";

export interface LightningNodeArgs extends HostStageArgs<LightningdDocument> {
  /**
   * A file of this machine that the stage reads on the host: an archive of lightningd, the key of a release's signer.
   * @default the stage fetches what it needs, or it is installed already
   */
  upload?: Upload | undefined;
}

/**
 * The only stage with a `delete`: destroying the stack stops lightningd, waits for it, keeps it from starting at boot, and leaves
 * wallet and copies. A first start is never a side effect of it (`./twofold init`).
 */
export class LightningNode extends HostStage<LightningdDocument> {
  constructor(name: string, args: LightningNodeArgs, options?: pulumi.ComponentResourceOptions) {
    const { host, upload } = args;
    super("twofold:host:LightningNode", name, args, options, {
      stop: host.runAtDelete("stop", "lightningd"),
      after: (parent) =>
        upload === undefined
          ? []
          : [
              new CopyToRemote(
                `${name}-upload`,
                {
                  connection: host.connection,
                  source: new pulumi.asset.FileAsset(operatorPath(upload.file)),
                  remotePath: upload.remotePath,
                  triggers: [host.machine],
                },
                { ...childOptions(parent, host), dependsOn: host.program },
              ),
            ],
    });
  }
}
