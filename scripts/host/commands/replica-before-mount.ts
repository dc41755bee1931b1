import { REPLICA_SSH_CONFIG } from "../../../templates/replica.ts";
import { type Command, expectArguments, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { readText } from "../read.ts";
import { awaitRelease, requireFsync } from "../replica/mount.ts";

export const replicaBeforeMount: Command = {
  usage: "replica-before-mount DIRECTORY",
  summary:
    "see that no lightningd holds an earlier mount of the replica at DIRECTORY, and that its server carries fsync (run by twofold-replica.service)",
  async run(args) {
    expectArguments(replicaBeforeMount, args, 1);
    requireRoot();
    await awaitRelease(args[0] ?? "", (line) => console.error(line));
    // Over NFS there is none, and fsync is a part of the protocol.
    if ((await readText(REPLICA_SSH_CONFIG)) !== undefined) await requireFsync();
    return EXIT.ok;
  },
};
