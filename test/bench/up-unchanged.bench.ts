/**
 * `pulumi up` when nothing has changed: a node's stack, as it is for a real host, beside a stack with one remote command
 * to the same host, with the same engine, plugins and Node.
 */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import test from "ava";
import { parse, stringify } from "yaml";
import { Lab } from "../helpers/lab.ts";
import { outputOf, runProgram } from "../helpers/run-program.ts";
import { inTurns, seconds, table } from "./paired.ts";

const ROUNDS = 7;
const ROOT = join(import.meta.dirname, "../..");
const UP = ["up", "--yes", "--skip-preview", "--non-interactive"];

interface StackFile {
  encryptionsalt?: string;
  config: { "twofold:hosts": { alice: Record<string, unknown> } } & Record<string, unknown>;
}

interface Stack {
  up(): Promise<string>;
}

/** A stack on a backend of its own in `directory`; `project` is where its program lies, `config` what it is told. */
async function makeStack(
  lab: Lab,
  directory: string,
  project: string,
  config: Record<string, unknown>,
): Promise<Stack> {
  const env = { ...lab.facts.env, PULUMI_BACKEND_URL: `file://${join(directory, "state")}` };
  mkdirSync(join(directory, "state"), { recursive: true });
  // `stack init` writes the salt beside a Pulumi.yaml, and that must not be the checkout's.
  const name = /^name: .+$/m.exec(readFileSync(join(project, "Pulumi.yaml"), "utf8"))?.[0];
  const empty = join(directory, "empty");
  mkdirSync(empty);
  writeFileSync(join(empty, "Pulumi.yaml"), `${name}\nruntime: nodejs\n`);
  outputOf(
    await runProgram("pulumi", ["stack", "init", "--non-interactive", "--no-select", lab.stack], { cwd: empty, env }),
  );
  const { encryptionsalt } = parse(readFileSync(join(empty, `Pulumi.${lab.stack}.yaml`), "utf8")) as StackFile;
  const configFile = join(directory, `Pulumi.${lab.stack}.yaml`);
  writeFileSync(configFile, stringify({ encryptionsalt, config }));
  const words = [...UP, "--stack", lab.stack, "--config-file", configFile];
  return { up: async () => outputOf(await runProgram("pulumi", words, { cwd: project, env })) };
}

/** The node's stack without the lab's containers in it: what a real host's stack has. */
function makeNodeStack(lab: Lab, directory: string): Promise<Stack> {
  const { config } = parse(readFileSync(lab.facts.configFile, "utf8")) as StackFile;
  const { "twofold:lab": _, ...real } = config;
  return makeStack(lab, directory, ROOT, { ...real, "twofold:allowStandins": true });
}

const SINGLE = `import { readFileSync } from "node:fs";
import { remote } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
const { identityFile, ...connection } = JSON.parse(readFileSync("connection.json", "utf8"));
new remote.Command("true", {
  connection: { ...connection, privateKey: pulumi.secret(readFileSync(identityFile, "utf8")) },
  create: "true",
});
`;

async function makeSingleStack(lab: Lab, directory: string): Promise<Stack> {
  const project = join(directory, "project");
  mkdirSync(project, { recursive: true });
  symlinkSync(join(ROOT, "node_modules"), join(project, "node_modules"));
  writeFileSync(join(project, "package.json"), '{ "type": "module" }\n');
  writeFileSync(
    join(project, "Pulumi.yaml"),
    "name: single\nmain: index.js\nruntime: { name: nodejs, options: { typescript: false } }\n",
  );
  writeFileSync(join(project, "index.js"), SINGLE);
  const { config } = parse(readFileSync(lab.facts.configFile, "utf8")) as StackFile;
  const { address: host, port, hostKey, identityFile } = config["twofold:hosts"].alice;
  writeFileSync(join(project, "connection.json"), JSON.stringify({ host, port, user: "root", hostKey, identityFile }));
  return makeStack(lab, directory, project, {});
}

test("pulumi up without a change beside a stack with one remote command", async (t) => {
  t.timeout(30 * 60_000);
  const lab = await Lab.up({ name: "one-host", log: () => {} });
  try {
    const directory = join(lab.facts.directory, "bench");
    const stacks = {
      "one remote command": await makeSingleStack(lab, join(directory, "single")),
      "a node's stack": await makeNodeStack(lab, join(directory, "node")),
    };
    for (const { up } of Object.values(stacks)) await up();
    const unchanged = ({ up }: Stack) =>
      seconds(async () => {
        const said = await up();
        if (!/Resources:\s+\d+ unchanged\s+Duration/.test(said)) throw new Error(`something was changed:\n${said}`);
      });
    const subjects = Object.entries(stacks).map(([name, stack]) => ({ name, measure: () => unchanged(stack) }));
    subjects.push({ name: "the lab's stack, with its container", measure: () => unchanged({ up: () => lab.up() }) });
    const measured = await inTurns(subjects, ROUNDS);
    t.log(`${table(measured, "s", "one remote command")}\nload ${loadavg()[0]?.toFixed(1)}`);
  } finally {
    await lab.down();
  }
  t.pass();
});
