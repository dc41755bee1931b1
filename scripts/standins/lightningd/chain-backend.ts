/**
 * A chain backend for the real lightningd in the lab, in place of its plugin bcli: the regtest chain with the genesis block and nothing
 * else. Enough to start on a new wallet and to make invoices; nothing can ever be sent.
 */
import { JsonFrames } from "./json-frames.ts";

/** As users of block explorers write it. */
const GENESIS_HASH = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206";
const MERKLE_ROOT = "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a";
const COINBASE_MESSAGE = Buffer.from("The Times 03/Jan/2009 Chancellor on brink of second bailout for banks").toString(
  "hex",
);
const COINBASE_KEY =
  "04678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5f";

/** The regtest genesis block, serialized, in hexadecimal digits. */
export const GENESIS_BLOCK = [
  "01000000", // version
  "00".repeat(32), // previous block
  MERKLE_ROOT,
  "dae5494d", // time 1296688602
  "ffff7f20", // target
  "02000000", // nonce
  "01", // one transaction
  "01000000", // its version
  "01", // one input, the coinbase
  "00".repeat(32),
  "ffffffff",
  "4d04ffff001d010445",
  COINBASE_MESSAGE,
  "ffffffff",
  "01", // one output
  "00f2052a01000000", // 50 bitcoin
  `4341${COINBASE_KEY}ac`,
  "00000000", // lock time
].join("");

const RPC_METHODS = ["getchaininfo", "getrawblockbyheight", "estimatefees", "getutxout", "sendrawtransaction"];

/** The answer to one of lightningd's requests (plugins/bcli.c documents the five of the backend). */
export function answer(method: string, params: unknown): unknown {
  switch (method) {
    case "getmanifest":
      return {
        options: [],
        rpcmethods: RPC_METHODS.map((name) => ({ name, usage: "", description: `${name} of the lab's chain` })),
        subscriptions: [],
        hooks: [],
        dynamic: false,
      };
    case "init":
      return {};
    case "getchaininfo":
      return { chain: "regtest", headercount: 0, blockcount: 0, ibd: false };
    case "getrawblockbyheight":
      return heightOf(params) === 0
        ? { blockhash: GENESIS_HASH, block: GENESIS_BLOCK }
        : { blockhash: null, block: null };
    case "estimatefees":
      return { feerate_floor: 1000, feerates: [] };
    case "getutxout":
      return { amount: null, script: null };
    case "sendrawtransaction":
      return { success: false, errmsg: "the lab's chain takes no transactions" };
    default:
      return undefined;
  }
}

function heightOf(params: unknown): number {
  const height = Array.isArray(params) ? params[0] : (params as { height?: unknown } | null)?.height;
  return Number(height);
}

function serve(): void {
  const frames = new JsonFrames();
  process.stdin.on("data", (chunk: Buffer) => {
    for (const text of frames.push(chunk)) {
      const { id, method, params } = JSON.parse(text) as { id?: unknown; method: string; params: unknown };
      if (id === undefined) continue; // A notification.
      const result = answer(method, params);
      const body =
        result === undefined ? { error: { code: -32601, message: `Unknown command '${method}'` } } : { result };
      process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", id, ...body })}\n\n`);
    }
  });
}

// lightningd sets this for its plugins; without it somebody only imports the answers.
if (process.env.LIGHTNINGD_PLUGIN === "1") serve();
