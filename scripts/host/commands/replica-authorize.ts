import { authorizedKeysOf, renderAuthorizedReplica } from "../../../templates/replica.ts";
import { publicKeyOf } from "../../../templates/witness.ts";
import { recordBroughtKey } from "../brought-key.ts";
import { type Command, expectArguments, readStdin, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { writeFileDurably } from "../files.ts";
import { ROOT_FILE } from "../planning.ts";
import { readText } from "../read.ts";
import { Refusal } from "../stage.ts";
import { parsePasswd } from "../witness/facts.ts";

export const replicaAuthorize: Command = {
  usage: "replica-authorize ACCOUNT NODE < PUBLIC-KEY",
  summary: "let the host with this key write the node's replica here; any earlier key is let in no more",
  async run(args) {
    expectArguments(replicaAuthorize, args, 2);
    requireRoot();
    const [account = "", node = ""] = args;
    const input = await readStdin();
    const key = publicKeyOf(input);
    if (key === undefined)
      throw new Refusal({
        code: "replica-key",
        what: "stdin holds no Ed25519 public key",
        received: input.trim().slice(0, 60) || "nothing",
        why: "whoever holds the key can read and overwrite the replica",
        fix: "give what 'replica-key' prints on the node's host",
      });
    // The name becomes part of a path.
    if (!/^[a-z][a-z0-9-]*$/.test(account) || !parsePasswd((await readText("/etc/passwd")) ?? "").has(account))
      throw new Refusal({
        code: "replica-account",
        what: `this host has no account for the replica of ${node}`,
        received: account,
        why: "the key would be let in nowhere",
        fix: "apply the replica stage of this host first",
      });
    await recordBroughtKey(account, key);
    const line = renderAuthorizedReplica(node, key);
    const path = authorizedKeysOf(account);
    if ((await readText(path)) !== line) await writeFileDurably(path, line, ROOT_FILE);
    return EXIT.ok;
  },
};
