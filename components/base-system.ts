import type * as pulumi from "@pulumi/pulumi";
import type { BaseDocument } from "../scripts/host/contract.ts";
import { HostStage, type HostStageArgs } from "./host-stage.ts";

/** Packages, the account that runs lightningd, and a clock that is right. */
export class BaseSystem extends HostStage<BaseDocument> {
  constructor(name: string, args: HostStageArgs<BaseDocument>, options?: pulumi.ComponentResourceOptions) {
    super("twofold:host:BaseSystem", name, args, options);
  }
}
