import type * as pulumi from "@pulumi/pulumi";
import type { AlertsDocument } from "../scripts/host/contract.ts";
import { HostStage, type HostStageArgs } from "./host-stage.ts";

/** The timer on a host that looks for what is wrong, and tells of it. */
export class Alerts extends HostStage<AlertsDocument> {
  constructor(name: string, args: HostStageArgs<AlertsDocument>, options?: pulumi.ComponentResourceOptions) {
    super("twofold:host:Alerts", name, args, options);
  }
}
