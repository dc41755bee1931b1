import { type Command, expectArguments, printJson, readStdin, requireRoot } from "../command.ts";
import { EXIT } from "../contract.ts";
import { forget as forgetMember } from "../etcd/forget.ts";
import { parseDocumentsText } from "../schema.ts";
import { Refusal } from "../stage.ts";

export const forget: Command = {
  usage: "forget HOST < DOCUMENTS",
  summary:
    "take a host that is dead for good out of etcd and of what Patroni keeps there; run on another member of etcd",
  async run(args) {
    expectArguments(forget, args, 1);
    requireRoot();
    const [name = ""] = args;
    const document = parseDocumentsText(await readStdin()).find(({ stage }) => stage === "etcd");
    if (document?.stage !== "etcd" || document.host === name)
      throw new Refusal({
        code: "FORGET-WHERE",
        what: "a member is forgotten by another member of etcd",
        received: document?.host ?? "a host without a member",
        why: "it is taken out by a majority of the others",
        fix: "let ./twofold forget find one",
      });
    printJson(await forgetMember(name, document, (line) => console.error(line)));
    return EXIT.ok;
  },
};
