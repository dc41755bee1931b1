import type * as pulumi from "@pulumi/pulumi";
import type { StorageDocument } from "../scripts/host/contract.ts";
import { HostStage, type HostStageArgs } from "./host-stage.ts";

/**
 * The BTRFS volumes of a host. It has no `delete`: destroying a stack leaves every volume and its data as they are;
 * wiping is a verb of its own.
 */
export class BtrfsVolumes extends HostStage<StorageDocument> {
  constructor(name: string, args: HostStageArgs<StorageDocument>, options?: pulumi.ComponentResourceOptions) {
    super("twofold:host:BtrfsVolumes", name, args, options);
  }
}
