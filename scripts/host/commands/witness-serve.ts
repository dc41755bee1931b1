import { type Command, expectArguments, printJson, readStdin } from "../command.ts";
import { EXIT, STATE_DIRECTORY } from "../contract.ts";
import { type Peek, peekReplica } from "../gate/peek.ts";
import { readText } from "../read.ts";
import { parseDocumentText } from "../schema.ts";
import { sessionsOf } from "../sessions.ts";
import { Refusal } from "../stage.ts";
import { parseMark } from "../witness/mark.ts";
import type { PeerRequest } from "../witness/peer.ts";
import { advanceMark, MarkRefused, readMark } from "../witness/store.ts";

function refuse(what: string, received: string, fix: string): never {
  throw new Refusal({
    code: "WITNESS-REQUEST",
    what,
    received,
    why: "this account is there for one node's witness alone",
    fix,
  });
}

/** The replica of `node` on this host, as the witness stage was last told. */
async function replicaOf(node: string): Promise<string> {
  const text = await readText(`${STATE_DIRECTORY}/documents/witness.json`);
  const document = text === undefined ? undefined : parseDocumentText(text);
  const writer = document?.stage === "witness" ? document.writers.find((one) => one.node === node) : undefined;
  if (writer?.replica === undefined)
    refuse("this host keeps no replica of the node", node, "run pulumi up for this host");
  return writer.replica;
}

const ANSWERS: Record<PeerRequest, (node: string, input: unknown) => Promise<unknown>> = {
  read: (node) => readMark(node),
  advance: async (node, input) => {
    const mark = parseMark(JSON.stringify(input));
    if (mark.node !== node) refuse(`the mark is of node ${mark.node}`, mark.node, `send marks of ${node} only`);
    try {
      return { changed: await advanceMark(mark) };
    } catch (error) {
      if (error instanceof MarkRefused)
        refuse(error.message, `data_version ${mark.dataVersion}`, "./twofold status shows every mark");
      throw error;
    }
  },
  async peek(node, input) {
    const peek = await peekReplica(await replicaOf(node), input);
    // The account shares its number with the replica's.
    const sessions = await sessionsOf(process.getuid?.() ?? -1);
    return { ...peek, sessions: sessions.filter(({ sftp }) => sftp).length } satisfies Peek;
  },
};

export const witnessServe: Command = {
  usage: "witness-serve NODE",
  summary:
    "forced command of the node's account: answer 'read', 'advance' or 'peek' in SSH_ORIGINAL_COMMAND (internal)",
  async run(args) {
    expectArguments(witnessServe, args, 1);
    const [node = ""] = args;
    const request = process.env.SSH_ORIGINAL_COMMAND ?? "";
    const input: unknown = JSON.parse((await readStdin()) || "null");
    const answer = Object.hasOwn(ANSWERS, request) ? ANSWERS[request as PeerRequest] : undefined;
    if (answer === undefined)
      refuse("there is no such request", request || "nothing", `ask ${Object.keys(ANSWERS).join(", ")}`);
    printJson(await answer(node, input));
    return EXIT.ok;
  },
};
