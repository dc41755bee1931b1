/** lightningd's JSON-RPC, as far as the witness needs it: whether the node runs, and who it is. */
import { connect } from "node:net";
import { join } from "node:path";
import type { LightningdDocument } from "../contract.ts";

/** lightningd's default --rpc-file. */
export const rpcSocket = (document: LightningdDocument) => join(document.directory, document.network, "lightning-rpc");

const TIMEOUT_MS = 5000;

/** The node id of the lightningd that answers; undefined if none does within 5 s. */
export function askNodeId(socket: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const client = connect(socket);
    let answer = "";
    const end = (id: string | undefined) => {
      client.destroy();
      resolve(id);
    };
    client.setTimeout(TIMEOUT_MS, () => end(undefined));
    client.on("error", () => end(undefined));
    client.on("close", () => end(undefined));
    client.on("connect", () =>
      client.write(JSON.stringify({ jsonrpc: "2.0", id: "twofold", method: "getinfo", params: {} })),
    );
    client.setEncoding("utf8").on("data", (text: string) => {
      answer += text;
      // lightningd ends every answer with an empty line (doc/lightningd-rpc.7.md).
      if (answer.includes("\n\n")) end(nodeIdOf(answer));
    });
  });
}

export function nodeIdOf(answer: string): string | undefined {
  try {
    const parsed = JSON.parse(answer) as { result?: { id?: unknown } };
    return typeof parsed.result?.id === "string" ? parsed.result.id : undefined;
  } catch {
    return undefined;
  }
}
