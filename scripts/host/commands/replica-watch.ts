import { type Command, expectArguments, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { watchReplica } from "../replica/watch.ts";

export const replicaWatch: Command = {
  usage: "replica-watch DIRECTORY",
  summary:
    "end when the replica's NFS mount at DIRECTORY is lost or came back by itself (run by twofold-replica.service)",
  async run(args) {
    expectArguments(replicaWatch, args, 1);
    requireRoot();
    const [directory = ""] = args;
    console.error(
      `${directory}: ${await watchReplica(directory)}; it is mounted anew, and the gate compares the copies`,
    );
    return EXIT.failed;
  },
};
