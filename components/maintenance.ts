import type * as pulumi from "@pulumi/pulumi";
import type { MaintenanceDocument } from "../scripts/host/contract.ts";
import { HostStage, type HostStageArgs } from "./host-stage.ts";

/** Balance, scrub and device checks of the host's volumes, as root's cron entries. */
export class Maintenance extends HostStage<MaintenanceDocument> {
  constructor(name: string, args: HostStageArgs<MaintenanceDocument>, options?: pulumi.ComponentResourceOptions) {
    super("twofold:host:Maintenance", name, args, options);
  }
}
