import { readFile } from "node:fs/promises";
import { publicKeyOf } from "../../../templates/witness.ts";
import { type Command, expectArguments, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { Refusal } from "../stage.ts";
import { WITNESS_KEY } from "../witness/facts.ts";

export const witnessKey: Command = {
  usage: "witness-key",
  summary: "print the public key with which this host's node asks its witnesses; 'witness-authorize' takes it",
  async run(args) {
    expectArguments(witnessKey, args, 0);
    requireRoot();
    const text = await readFile(`${WITNESS_KEY}.pub`, "utf8").catch(() => "");
    const key = publicKeyOf(text);
    if (key === undefined)
      throw new Refusal({
        code: "WITNESS-NO-KEY",
        what: `${WITNESS_KEY}.pub holds no public key`,
        received: text.slice(0, 60) || "nothing",
        why: "the witnesses could not tell the node's host from another one",
        fix: "apply the witness stage of the node's host first: it makes the key",
      });
    console.log(key);
    return EXIT.ok;
  },
};
