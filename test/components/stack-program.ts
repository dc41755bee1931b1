/** The project's own stack program on the real engine, in a stack of its own, with a plugin that only writes down its work. */
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { stringify } from "yaml";
import { outputOf, type Ran, runProgram } from "../helpers/run-program.ts";

const ROOT = join(import.meta.dirname, "../..");
const STACK = "engine";

/** What the plugin was asked to do. */
export interface Carried {
  operation: "create" | "update" | "delete";
  name: string;
  /** The command line; null where there is none to run. */
  line: string | null;
}

export class StackProgram {
  readonly directory = mkdtempSync(join(tmpdir(), "twofold-engine-"));
  /** Where the engine finds its plugin. */
  readonly plugins = join(this.directory, "plugins");
  readonly #record = join(this.directory, "record");
  readonly #configFile = join(this.directory, `Pulumi.${STACK}.yaml`);
  #salt = "";

  static async make(): Promise<StackProgram> {
    const program = new StackProgram();
    mkdirSync(join(program.directory, "state"));
    mkdirSync(program.plugins);
    const plugin = join(program.plugins, "pulumi-resource-command");
    writeFileSync(
      plugin,
      `#!/bin/sh\nexec "${process.execPath}" "${join(import.meta.dirname, "recording-plugin.ts")}" "$@"\n`,
    );
    chmodSync(plugin, 0o755);
    // Pulumi writes a new stack's salt beside a Pulumi.yaml and nowhere else; not into the checkout.
    writeFileSync(join(program.directory, "Pulumi.yaml"), "name: twofold\nruntime: nodejs\n");
    outputOf(await program.pulumi(["stack", "init", "--no-select", "--stack", STACK], { cwd: program.directory }));
    program.#salt = /^encryptionsalt: (.+)$/m.exec(readFileSync(program.#configFile, "utf8"))?.[1] ?? "";
    return program;
  }

  /** Makes a key pair in this stack's folder and returns its public half, as a host key is written. */
  key(name: string): string {
    const file = join(this.directory, name);
    if (!existsSync(file)) {
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", file]);
    }
    return readFileSync(`${file}.pub`, "utf8").split(" ").slice(0, 2).join(" ");
  }

  /** Runs an operation with this config, and takes what the plugin was asked to do meanwhile. */
  async run(
    words: string[],
    config: Record<string, unknown>,
    env: NodeJS.ProcessEnv = {},
  ): Promise<{ ran: Ran; text: string; carried: Carried[] }> {
    rmSync(this.#record, { force: true });
    writeFileSync(this.#configFile, stringify({ config, encryptionsalt: this.#salt }));
    const place = ["--stack", STACK, "--config-file", this.#configFile, "--non-interactive", "--color", "never"];
    const ran = await this.pulumi([...words, ...place], { cwd: ROOT, env });
    const lines = existsSync(this.#record) ? readFileSync(this.#record, "utf8").trim().split("\n") : [];
    return { ran, text: ran.stdout + ran.stderr, carried: lines.map((line) => JSON.parse(line) as Carried) };
  }

  /** The config as Pulumi reads it from the text of a stack's file. */
  async read(text: string): Promise<Record<string, unknown>> {
    writeFileSync(this.#configFile, `encryptionsalt: ${this.#salt}\n${text}`);
    const words = ["config", "--json", "--stack", STACK, "--config-file", this.#configFile];
    const values = JSON.parse(outputOf(await this.pulumi(words, { cwd: ROOT }))) as Record<
      string,
      { value: string; objectValue?: unknown }
    >;
    return Object.fromEntries(
      Object.entries(values).map(([key, { value, objectValue }]) => [key, objectValue ?? value]),
    );
  }

  /** An output as the stack has recorded it. */
  async output(name: string): Promise<unknown> {
    return JSON.parse(
      outputOf(await this.pulumi(["stack", "output", name, "--json", "--stack", STACK], { cwd: ROOT })),
    );
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  pulumi(words: string[], options: { cwd: string; env?: NodeJS.ProcessEnv }): Promise<Ran> {
    return runProgram("pulumi", words, {
      cwd: options.cwd,
      env: {
        ...process.env,
        PATH: [this.plugins, join(ROOT, "node_modules/.bin"), process.env.PATH].join(delimiter),
        PULUMI_BACKEND_URL: `file://${join(this.directory, "state")}`,
        PULUMI_CONFIG_PASSPHRASE: "engine",
        PULUMI_SKIP_UPDATE_CHECK: "true",
        RECORD: this.#record,
        ...options.env,
      },
    });
  }
}
