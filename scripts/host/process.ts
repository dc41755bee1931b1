/** Running other programs: arguments are passed as they are, never through a shell. */
import { spawn } from "node:child_process";

export interface Ran {
  status: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  /** Written to the program's stdin, which is closed after it; without it stdin is empty. */
  input?: string;
  /** Added to the environment. */
  env?: Record<string, string>;
  /** Called with each line of stdout and stderr as it comes. */
  onLine?: (line: string, stream: "stdout" | "stderr") => void;
  /** Ends the program (SIGTERM). */
  signal?: AbortSignal;
}

/** A program that ended with another status than the caller can work with. */
export class CommandFailed extends Error {
  readonly ran: Ran;
  constructor(command: string, args: readonly string[], ran: Ran) {
    const said = (ran.stderr.trim() || ran.stdout.trim() || "(it printed nothing)").split("\n").slice(-12).join("\n  ");
    super(`'${[command, ...args].join(" ")}' ended with status ${ran.status}:\n  ${said}`);
    this.name = "CommandFailed";
    this.ran = ran;
  }
}

/**
 * Runs a program to its end. A status other than 0 is an answer, not an error; 127 if there is no such program,
 * 128 + the signal's number if it was killed.
 */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ["pipe", "pipe", "pipe"],
      // Messages are parsed, so they must not follow the host's language.
      env: { ...process.env, LC_ALL: "C.UTF-8", ...options.env },
      signal: options.signal,
    });
    const ran: Ran = { status: 0, stdout: "", stderr: "" };
    for (const stream of ["stdout", "stderr"] as const) {
      let line = "";
      child[stream].setEncoding("utf8").on("data", (chunk: string) => {
        ran[stream] += chunk;
        if (options.onLine === undefined) return;
        const lines = (line + chunk).split(/\r?\n|\r/);
        line = lines.pop() ?? "";
        for (const each of lines) options.onLine(each, stream);
      });
      child[stream].on("end", () => {
        if (line !== "") options.onLine?.(line, stream);
      });
    }
    child.on("error", (error) => resolve({ status: 127, stdout: ran.stdout, stderr: error.message }));
    child.on("close", (code, signal) => {
      if (signal !== null) ran.stderr += `killed by ${signal}`;
      resolve({ ...ran, status: code ?? 128 });
    });
    // A program that doesn't read its input closes the pipe early; its status tells what matters.
    child.stdin.on("error", () => {});
    child.stdin.end(options.input ?? "");
  });
}

/** Runs a program that has to succeed and returns its stdout. @throws {CommandFailed} */
export async function must(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const ran = await run(command, args, options);
  if (ran.status !== 0) throw new CommandFailed(command, args, ran);
  return ran.stdout;
}
