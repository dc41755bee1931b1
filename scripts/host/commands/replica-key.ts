import { readFile } from "node:fs/promises";
import { publicKeyOf } from "../../../templates/witness.ts";
import { type Command, expectArguments, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { ensureKey, REPLICA_KEY } from "../replica/key.ts";

/** Made here and not by the stage alone: the mount comes up only when the replica's host knows the key. */
export const replicaKey: Command = {
  usage: "replica-key NODE",
  summary:
    "print the public key with which this host writes the node's replica, made if there is none; 'replica-authorize' takes it",
  async run(args) {
    expectArguments(replicaKey, args, 1);
    requireRoot();
    await ensureKey(REPLICA_KEY, `twofold replica ${args[0]}`);
    const text = await readFile(`${REPLICA_KEY}.pub`, "utf8");
    const key = publicKeyOf(text);
    if (key === undefined) throw new Error(`${REPLICA_KEY}.pub holds no public key: ${text.slice(0, 60)}`);
    console.log(key);
    return EXIT.ok;
  },
};
