import { authorizedKeysOf, renderAuthorizedReplica } from "../../../templates/replica.ts";
import { publicKeyOf } from "../../../templates/witness.ts";
import { readBroughtKey, recordBroughtKey } from "../brought-key.ts";
import { type Command, expectArguments, readStdin, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { writeFileDurably } from "../files.ts";
import { ROOT_FILE } from "../planning.ts";
import { readText } from "../read.ts";
import { endSessions } from "../sessions.ts";
import { Refusal } from "../stage.ts";
import { parsePasswd } from "../witness/facts.ts";

export const replicaAuthorize: Command = {
  usage: "replica-authorize ACCOUNT NODE < PUBLIC-KEY",
  summary:
    "let the host with this key write the node's replica here; any earlier key is let in no more, and its sessions end",
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
    const uid = parsePasswd((await readText("/etc/passwd")) ?? "").get(account)?.uid;
    if (!/^[a-z][a-z0-9-]*$/.test(account) || uid === undefined)
      throw new Refusal({
        code: "replica-account",
        what: `this host has no account for the replica of ${node}`,
        received: account,
        why: "the key would be let in nowhere",
        fix: "apply the replica stage of this host first",
      });
    const line = renderAuthorizedReplica(node, key);
    const path = authorizedKeysOf(account);
    if ((await readText(path)) !== line) await writeFileDurably(path, line, ROOT_FILE);
    if ((await readBroughtKey(account)) === key) return EXIT.ok;
    // A former host that is only cut off from the operator would go on writing: two nodes with one replica.
    const ended = await endSessions(uid, (session) => session.account === account);
    if (ended > 0) console.error(`the sessions with the former key were ended (${ended} processes)`);
    await recordBroughtKey(account, key);
    return EXIT.ok;
  },
};
