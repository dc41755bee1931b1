import type * as pulumi from "@pulumi/pulumi";
import type { WitnessDocument } from "../scripts/host/contract.ts";
import { HostStage, type HostStageArgs } from "./host-stage.ts";

/** A host's place for the high-water marks of other hosts' nodes. */
export class Witness extends HostStage<WitnessDocument> {
  constructor(name: string, args: HostStageArgs<WitnessDocument>, options?: pulumi.ComponentResourceOptions) {
    super("twofold:host:Witness", name, args, options);
  }
}
