import { type Command, expectArguments, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { awaitRelease } from "../replica/mount.ts";

export const replicaBeforeMount: Command = {
  usage: "replica-before-mount DIRECTORY",
  summary: "see that no lightningd holds an earlier mount of the replica at DIRECTORY (run by twofold-replica.service)",
  async run(args) {
    expectArguments(replicaBeforeMount, args, 1);
    requireRoot();
    await awaitRelease(args[0] ?? "", (line) => console.error(line));
    return EXIT.ok;
  },
};
