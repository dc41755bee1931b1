import type * as pulumi from "@pulumi/pulumi";
import type { ReplicaDocument } from "../scripts/host/contract.ts";
import { HostStage, type HostStageArgs } from "./host-stage.ts";

/** The node's side of its replica: the directory that lightningd writes to, or the mount of another host's. */
export class ReplicaSource extends HostStage<ReplicaDocument> {
  constructor(name: string, args: HostStageArgs<ReplicaDocument>, options?: pulumi.ComponentResourceOptions) {
    super("twofold:host:ReplicaSource", name, args, options);
  }
}
