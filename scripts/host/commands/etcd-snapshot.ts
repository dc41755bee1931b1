import { type Command, expectArguments, printJson } from "../command.ts";
import { EXIT } from "../contract.ts";
import { takeSnapshot } from "../etcd/snapshot.ts";

export const etcdSnapshot: Command = {
  usage: "etcd-snapshot CLUSTER",
  summary: "take a snapshot of the store, restore it in a scratch place, and keep the newest (internal)",
  async run(args) {
    expectArguments(etcdSnapshot, args, 1);
    printJson(await takeSnapshot(args[0] ?? "", new Date()));
    return EXIT.ok;
  },
};
