/**
 * A command plugin without hosts, for tests through the real engine: it does nothing but write down what it was asked to do,
 * one line of JSON each, to the file $RECORD. A command whose line contains $RECORD_FAIL fails.
 */
import { appendFileSync } from "node:fs";
import { diffWithTriggers } from "../../scripts/standins/command/command.ts";
import { type ResourceKind, serve } from "../../scripts/standins/serve.ts";
import { type Properties, plain } from "../../scripts/standins/wire.ts";

function carryOut(operation: string, name: string, line: unknown): void {
  appendFileSync(process.env.RECORD ?? "/dev/null", `${JSON.stringify({ operation, name, line: line ?? null })}\n`);
  const failing = process.env.RECORD_FAIL;
  if (failing !== undefined && String(line).includes(failing)) {
    throw new Error(`Process exited with status 1: running ${JSON.stringify(line)}`);
  }
}

const outputs = (inputs: Properties) => ({ ...inputs, stdout: "", stderr: "" });
const lineOf = (inputs: Properties, name: string) => (plain(inputs) as Record<string, unknown>)[name];

const recording: ResourceKind = {
  check: (inputs) => ({ inputs, failures: [] }),
  diff: diffWithTriggers,
  async create(name, inputs) {
    carryOut("create", name, lineOf(inputs, "create"));
    return { id: name, outs: outputs(inputs) };
  },
  async update(id, _state, inputs) {
    carryOut("update", id, lineOf(inputs, "create"));
    return { outs: outputs(inputs) };
  },
  async delete(id, state) {
    carryOut("delete", id, lineOf(state, "delete"));
  },
};

await serve(
  {
    plugin: "command",
    version: "1.2.1",
    resources: { "command:remote:Command": recording, "command:remote:CopyToRemote": recording },
  },
  process.argv.slice(2),
);
