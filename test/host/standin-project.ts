/** A throw-away Pulumi project with a local backend, driven through the real engine, with the plugins of one directory. */
import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");

export interface Declaration {
  kind: "Command" | "CopyToRemote" | "Container" | "Network";
  name: string;
  inputs: Record<string, unknown>;
  options?: { dependsOn?: string[]; additionalSecretOutputs?: string[]; deleteBeforeReplace?: boolean };
}

/** What the engine did to one resource, e.g. "create", "update", "replace", "delete", "same". */
export interface Step {
  op: string;
  name: string;
}

export interface Outcome {
  ok: boolean;
  /** All that Pulumi printed. */
  text: string;
  /** Resource steps in the order in which they were begun; "same" ones included. */
  steps: Step[];
  /** Messages of the plugins and the engine that stay in the summary, and those that are shown for a moment only. */
  messages: { text: string; ephemeral: boolean; severity: string }[];
}

/** A resource in the stack's state file, as it lies on disk. */
export interface StateResource {
  id: string;
  type: string;
  urn: string;
  inputs: Record<string, unknown>;
  outputs: Record<string, unknown>;
}

interface EngineEvent {
  resourcePreEvent?: { metadata: { op: string; urn: string; type: string } };
  diagnosticEvent?: { message: string; ephemeral?: boolean; severity: string };
}

export class Project {
  readonly directory: string;
  readonly #plugins: string[];

  private constructor(directory: string, plugins: string[]) {
    this.directory = directory;
    this.#plugins = plugins;
  }

  /** @param plugins directories with executables pulumi-resource-NAME */
  static async make(plugins: string[]): Promise<Project> {
    const directory = await mkdtemp(join(tmpdir(), "twofold-standin-"));
    await mkdir(join(directory, "state"));
    await symlink(join(ROOT, "node_modules"), join(directory, "node_modules"));
    await copyFile(join(import.meta.dirname, "standin-program.ts"), join(directory, "program.ts"));
    await writeFile(join(directory, "package.json"), '{ "type": "module" }\n');
    await writeFile(
      join(directory, "Pulumi.yaml"),
      "name: standin\nmain: program.ts\nruntime: { name: nodejs, options: { typescript: false } }\n",
    );
    await writeFile(join(directory, "resources.json"), "[]");
    const project = new Project(directory, plugins);
    const made = await project.#pulumi(["stack", "init"]);
    if (made.ok) return project;
    await project.remove();
    throw new Error(`no stack: ${made.text}`);
  }

  async declare(...resources: Declaration[]): Promise<void> {
    await writeFile(join(this.directory, "resources.json"), JSON.stringify(resources));
  }

  async up(...resources: Declaration[]): Promise<Outcome> {
    await this.declare(...resources);
    return this.#operate(["up", "--yes", "--skip-preview"]);
  }

  async preview(...resources: Declaration[]): Promise<Outcome> {
    await this.declare(...resources);
    return this.#operate(["preview"]);
  }

  async previewDiff(...resources: Declaration[]): Promise<Outcome> {
    await this.declare(...resources);
    return this.#operate(["preview", "--diff"]);
  }

  async refresh(): Promise<Outcome> {
    return this.#operate(["refresh", "--yes", "--skip-preview"]);
  }

  async destroy(): Promise<Outcome> {
    return this.#operate(["destroy", "--yes", "--skip-preview"]);
  }

  /** The resources in the state file, without the stack and the providers, and the file's text. */
  async state(): Promise<{ resources: Map<string, StateResource>; text: string }> {
    const text = await readFile(join(this.directory, "state/.pulumi/stacks/standin/test.json"), "utf8");
    const all = (JSON.parse(text).checkpoint.latest.resources ?? []) as StateResource[];
    const own = all.filter(({ type }) => !type.startsWith("pulumi:"));
    return { resources: new Map(own.map((resource) => [nameOf(resource.urn), resource])), text };
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }

  async #operate(args: string[]): Promise<Outcome> {
    const log = join(this.directory, "events.json");
    await rm(log, { force: true });
    const outcome = await this.#pulumi([...args, "--event-log", log]);
    const lines = (await readFile(log, "utf8").catch(() => "")).split("\n").filter((line) => line !== "");
    const events = lines.map((line) => JSON.parse(line) as EngineEvent);
    return {
      ...outcome,
      steps: events.flatMap(({ resourcePreEvent: event }) =>
        event === undefined || event.metadata.type.startsWith("pulumi:")
          ? []
          : [{ op: event.metadata.op, name: nameOf(event.metadata.urn) }],
      ),
      messages: events.flatMap(({ diagnosticEvent: event }) =>
        event === undefined
          ? []
          : [{ text: event.message.trimEnd(), ephemeral: event.ephemeral ?? false, severity: event.severity }],
      ),
    };
  }

  #pulumi(args: string[]): Promise<{ ok: boolean; text: string }> {
    const env: NodeJS.ProcessEnv = {
      ...process.env,
      // The project's own programs come last: a Pulumi that set-up has put on PATH is the one to use.
      PATH: [...this.#plugins, process.env.PATH, join(ROOT, "node_modules/.bin")].join(delimiter),
      PULUMI_BACKEND_URL: `file://${join(this.directory, "state")}`,
      PULUMI_CONFIG_PASSPHRASE: "conformance",
      PULUMI_SKIP_UPDATE_CHECK: "true",
      // Makes --event-log available.
      PULUMI_DEBUG_COMMANDS: "true",
    };
    // An agent of whoever runs the tests must not be what lets a connection in.
    delete env.SSH_AUTH_SOCK;
    return new Promise((resolve) => {
      execFile(
        "pulumi",
        [...args, "--stack", "test", "--non-interactive", "--color", "never"],
        { cwd: this.directory, env, maxBuffer: 64 * 1024 * 1024 },
        (error, stdout, stderr) => resolve({ ok: error === null, text: stdout + stderr }),
      );
    });
  }
}

function nameOf(urn: string): string {
  return urn.split("::")[3] ?? "";
}
