import type * as pulumi from "@pulumi/pulumi";
import type { EtcdDocument } from "../scripts/host/contract.ts";
import { HostStage, type HostStageArgs } from "./host-stage.ts";

/** A host's member of etcd. It has no `delete`: a member that goes takes part of a majority with it, so that is a verb's work. */
export class EtcdMember extends HostStage<EtcdDocument> {
  constructor(name: string, args: HostStageArgs<EtcdDocument>, options?: pulumi.ComponentResourceOptions) {
    super("twofold:host:EtcdMember", name, args, options);
  }
}
