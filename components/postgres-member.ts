import type * as pulumi from "@pulumi/pulumi";
import type { PostgresDocument } from "../scripts/host/contract.ts";
import { HostStage, type HostStageArgs } from "./host-stage.ts";

/** A host's member of the PostgreSQL cluster. It has no `delete`: destroying the stack leaves every copy of the wallet. */
export class PostgresMember extends HostStage<PostgresDocument> {
  constructor(name: string, args: HostStageArgs<PostgresDocument>, options?: pulumi.ComponentResourceOptions) {
    super("twofold:host:PostgresMember", name, args, options);
  }
}
