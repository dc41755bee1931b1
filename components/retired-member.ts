import type * as pulumi from "@pulumi/pulumi";
import type { RetiredDocument } from "../scripts/host/contract.ts";
import { HostStage, type HostStageArgs } from "./host-stage.ts";

/** A host without a member of the cluster: one that had one is taken out of it, in order. */
export class RetiredMember extends HostStage<RetiredDocument> {
  constructor(name: string, args: HostStageArgs<RetiredDocument>, options?: pulumi.ComponentResourceOptions) {
    super("twofold:host:RetiredMember", name, args, options);
  }
}
