/** lightning-cli as far as the lab needs it: `[--lightning-dir DIR] [--network NAME] [--conf FILE] [--rpc-file FILE] METHOD [PARAMETER…]`. */
import { connect } from "node:net";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { Failure } from "./failure.ts";
import { JsonFrames } from "./json-frames.ts";
import { readOptions } from "./options.ts";

const STATUS = { fromLightningd: 1, talking: 2, usage: 3 } as const;

/** Spaces of one level of the printed answer, as in the real lightning-cli. */
const INDENT = 3;

/** Words before the method are options; an option takes the next word unless it has a '='. */
function split(words: string[]): { options: string[]; method: string | undefined; parameters: string[] } {
  let index = 0;
  while (words[index]?.startsWith("--")) index += words[index]?.includes("=") || isFlag(words[index]) ? 1 : 2;
  return { options: words.slice(0, index), method: words[index], parameters: words.slice(index + 1) };
}

function isFlag(word: string | undefined): boolean {
  return ["--regtest", "--mainnet", "--testnet", "--testnet4", "--signet"].includes(word ?? "");
}

/** A parameter that is JSON by itself is passed as that, anything else as a string. */
function parameter(word: string): unknown {
  if (!/^(-?\d|true$|false$|null$|["[{])/.test(word)) return word;
  try {
    return JSON.parse(word);
  } catch {
    return word;
  }
}

function parametersOf(words: string[]): unknown {
  if (!words[0]?.includes("=")) return words.map(parameter);
  return Object.fromEntries(
    words.map((word) => {
      const at = word.indexOf("=");
      if (at < 0) throw new Failure(`Expected key=value in '${word}'`, STATUS.usage);
      return [word.slice(0, at), parameter(word.slice(at + 1))];
    }),
  );
}

async function request(path: string, method: string, params: unknown): Promise<{ result?: unknown; error?: unknown }> {
  // Entering the directory keeps the socket's name below the 107 bytes that the kernel takes.
  process.chdir(dirname(path));
  return new Promise((done, fail) => {
    const socket = connect(path.slice(dirname(path).length + 1));
    const frames = new JsonFrames();
    const id = `cli:${method}#${process.pid}`;
    socket.once("error", (error) => fail(new Failure(`Connecting to '${path}': ${error.message}`, STATUS.talking)));
    socket.once("connect", () => socket.write(JSON.stringify({ jsonrpc: "2.0", method, id, params })));
    socket.on("data", (chunk) => {
      const [answer] = frames.push(chunk);
      if (answer === undefined) return;
      socket.destroy();
      done(JSON.parse(answer) as { result?: unknown; error?: unknown });
    });
    socket.once("end", () => fail(new Failure("reading response: socket closed", STATUS.talking)));
  });
}

async function main(): Promise<void> {
  const { options: words, method, parameters } = split(process.argv.slice(2));
  const options = readOptions(words, homedir());
  if (method === undefined) throw new Failure("usage: lightning-cli [--OPTION…] METHOD [PARAMETER…]", STATUS.usage);
  const base = resolve(options.value("lightning-dir") ?? join(homedir(), ".lightning"));
  const path = resolve(base, options.value("network") ?? "bitcoin", options.value("rpc-file") ?? "lightning-rpc");
  let answer: { result?: unknown; error?: unknown };
  try {
    answer = await request(path, method, parametersOf(parameters));
  } catch (error) {
    throw error instanceof Failure
      ? error
      : new Failure(`Moving into '${dirname(path)}': ${String(error)}`, STATUS.talking);
  }
  console.log(JSON.stringify(answer.error ?? answer.result, null, INDENT));
  if (answer.error !== undefined) process.exitCode = STATUS.fromLightningd;
}

main().catch((error: unknown) => {
  process.stderr.write(`lightning-cli: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(error instanceof Failure ? error.status : STATUS.usage);
});
