import type * as pulumi from "@pulumi/pulumi";
import type { ReplicaDocument } from "../scripts/host/contract.ts";
import { HostStage, type HostStageArgs } from "./host-stage.ts";

/** The host that keeps a replica: an account that can do nothing but sftp into its directory, on a volume of its own. */
export class ReplicaTarget extends HostStage<ReplicaDocument> {
  constructor(name: string, args: HostStageArgs<ReplicaDocument>, options?: pulumi.ComponentResourceOptions) {
    super("twofold:host:ReplicaTarget", name, args, options);
  }
}
