import { authorizedWitness, publicKeyOf } from "../../../templates/witness.ts";
import { readBroughtKey, recordBroughtKey } from "../brought-key.ts";
import { type Command, expectArguments, readStdin, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { writeFileDurably } from "../files.ts";
import { ROOT_FILE } from "../planning.ts";
import { readAccounts, readEntry, readText } from "../read.ts";
import { endSessions } from "../sessions.ts";
import { Refusal } from "../stage.ts";
import { authorizedKeys, parsePasswd, peerHome, witnessKeyName } from "../witness/facts.ts";

export const witnessAuthorize: Command = {
  usage: "witness-authorize NODE < PUBLIC-KEY",
  summary:
    "let the host with this key ask for the node's mark and replica here; any earlier key is let in no more, and its sessions end",
  async run(args) {
    expectArguments(witnessAuthorize, args, 1);
    requireRoot();
    const [node = ""] = args;
    const input = await readStdin();
    const key = publicKeyOf(input);
    if (key === undefined)
      throw new Refusal({
        code: "WITNESS-NO-KEY",
        what: "stdin holds no Ed25519 public key",
        received: input.trim().slice(0, 60) || "nothing",
        why: "whoever holds the key moves the node's mark",
        fix: "give what 'witness-key' prints on the node's host",
      });
    if ((await readEntry(peerHome(node), await readAccounts())) === undefined)
      throw new Refusal({
        code: "WITNESS-NO-ACCOUNT",
        what: `this host has no place for the marks of node ${node}`,
        received: node,
        why: "the key would be let in nowhere",
        fix: "apply the witness stage of this host first",
      });
    const line = authorizedWitness(node, key);
    const path = authorizedKeys(node);
    if ((await readText(path)) !== line) await writeFileDurably(path, line, ROOT_FILE);
    if ((await readBroughtKey(witnessKeyName(node))) === key) return EXIT.ok;
    // The account shares its number with the replica's where there is one, whose sessions have a key of their own.
    const accounts = [...parsePasswd((await readText("/etc/passwd")) ?? "")];
    const [name, own] = accounts.find(([, { home }]) => home === peerHome(node)) ?? [];
    if (own !== undefined) await endSessions(own.uid, ({ account }) => account === undefined || account === name);
    await recordBroughtKey(witnessKeyName(node), key);
    return EXIT.ok;
  },
};
