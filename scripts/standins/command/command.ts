/** command:remote:Command: runs a command on a host when it is created, updated and deleted. */
import { randomBytes } from "node:crypto";
import { constants } from "node:os";
import { isDeepStrictEqual } from "node:util";
import type { ClientChannel } from "ssh2";
import { checkInputs, type ObjectShape } from "../inputs.ts";
import type { Progress, ResourceKind } from "../serve.ts";
import { type Properties, plain } from "../wire.ts";
import { type Connection, connectionShape, dial, withConnectionDefaults } from "./connection.ts";
import { lineSplitter } from "./lines.ts";

const LOGGING = ["stdout", "stderr", "stdoutAndStderr", "none"] as const;

const shape: ObjectShape = {
  object: {
    connection: connectionShape,
    create: "string",
    update: "string",
    delete: "string",
    stdin: "string",
    triggers: { list: "anything" },
    logging: { oneOf: LOGGING },
    addPreviousOutputInEnv: "boolean",
  },
  required: ["connection"],
};

interface Inputs {
  connection: Connection;
  create?: string;
  update?: string;
  delete?: string;
  stdin?: string;
  logging?: (typeof LOGGING)[number];
  addPreviousOutputInEnv?: boolean;
}

interface Output {
  stdout: string;
  stderr: string;
}

export const command: ResourceKind = {
  check: (inputs) => ({
    inputs: withConnectionDefaults(inputs),
    failures: checkInputs(inputs, shape, "command:remote:Command"),
  }),

  diff: (state, inputs) => diffWithTriggers(state, inputs),

  async create(name, inputs, progress) {
    const settings = plain(inputs) as Inputs;
    const nothing = { stdout: "", stderr: "" };
    const output = settings.create === undefined ? nothing : await run(settings.create, settings, nothing, progress);
    return { id: name + randomBytes(4).toString("hex"), outs: { ...inputs, ...output } };
  },

  async update(_id, state, inputs, progress) {
    const settings = plain(inputs) as Inputs;
    const previous = outputOf(state);
    const line = settings.update ?? settings.create;
    const output = line === undefined ? previous : await run(line, settings, previous, progress);
    return { outs: { ...inputs, ...output } };
  },

  async delete(_id, state, progress) {
    const settings = plain(state) as Inputs;
    if (settings.delete !== undefined) await run(settings.delete, settings, outputOf(state), progress);
  },
};

/**
 * What the real plugin's `replaceOnChanges` on `triggers` does: a change of them replaces. Whether anything else changed is
 * left to the engine, which compares old and new inputs and can show the difference inside a JSON `stdin`.
 */
export function diffWithTriggers(state: Properties, inputs: Properties): { replaces?: string[] } {
  return isDeepStrictEqual(plain(state.triggers), plain(inputs.triggers)) ? {} : { replaces: ["triggers"] };
}

function outputOf(state: Properties): Output {
  const { stdout, stderr } = plain(state) as Partial<Output>;
  return { stdout: stdout ?? "", stderr: stderr ?? "" };
}

/**
 * Runs `line` over a connection of its own.
 * @throws Error with the command and all that it printed, secret or not, as the real plugin does.
 */
async function run(line: string, settings: Inputs, previous: Output, progress: Progress): Promise<Output> {
  const client = await dial(settings.connection, progress);
  try {
    const env = settings.addPreviousOutputInEnv === false ? {} : previousOutputEnvironment(previous);
    return await new Promise((resolve, reject) => {
      client.exec(line, { env }, (error, channel) => {
        // Listened to from within the callback: the end of a short command can be in the same packet as the beginning.
        if (error === undefined) finish(channel, line, settings, progress).then(resolve, reject);
        else reject(error);
      });
    });
  } finally {
    client.end();
  }
}

/** The server drops what its AcceptEnv does not name; the real plugin warns of that, ssh2 can't tell. */
function previousOutputEnvironment({ stdout, stderr }: Output): Record<string, string> {
  return {
    ...(stdout === "" ? {} : { PULUMI_COMMAND_STDOUT: stdout }),
    ...(stderr === "" ? {} : { PULUMI_COMMAND_STDERR: stderr }),
  };
}

async function finish(channel: ClientChannel, line: string, settings: Inputs, progress: Progress): Promise<Output> {
  const logging = settings.logging ?? "stdoutAndStderr";
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  const both: Buffer[] = [];
  let shown = Promise.resolve();
  const lines = lineSplitter((text) => {
    shown = progress(text);
  });
  const collect = (own: Buffer[], isShown: boolean) => (chunk: Buffer) => {
    own.push(chunk);
    both.push(chunk);
    if (isShown) lines.write(chunk);
  };
  channel.on("data", collect(stdout, logging === "stdout" || logging === "stdoutAndStderr"));
  channel.stderr.on("data", collect(stderr, logging === "stderr" || logging === "stdoutAndStderr"));

  const ended = new Promise<string | undefined>((resolve) => {
    let reason: string | undefined = "wait: remote command exited without exit status or exit signal";
    channel.on("exit", (status: number | null, signal?: string) => {
      reason = reasonOf(status, signal);
    });
    channel.once("close", () => resolve(reason));
  });
  // A command that ends without reading its input is no failure.
  channel.stdin.on("error", () => {});
  channel.end(settings.stdin ?? "");

  const reason = await ended;
  lines.end();
  await shown;
  if (reason !== undefined) throw new Error(`${reason}: running ${JSON.stringify(line)}:\n${Buffer.concat(both)}`);
  return { stdout: withoutLastNewline(stdout), stderr: withoutLastNewline(stderr) };
}

/** @param signal with its SIG, as ssh2 gives it; shown without, as the real plugin does. */
function reasonOf(status: number | null, signal: string | undefined): string | undefined {
  if (signal === undefined) return status === 0 ? undefined : `Process exited with status ${status}`;
  const number = constants.signals[signal as NodeJS.Signals] ?? 0;
  return `Process exited with status ${128 + number} from signal ${signal.replace(/^SIG/, "")}`;
}

function withoutLastNewline(chunks: Buffer[]): string {
  return Buffer.concat(chunks).toString("utf8").replace(/\n$/, "");
}
