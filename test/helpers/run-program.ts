/** Runs a program to its end and keeps what it printed. */
import { spawn } from "node:child_process";

export interface Ran {
  command: string;
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv | Record<string, string | undefined>;
  input?: string;
}

/** Never throws for an exit status. */
export function runProgram(program: string, words: string[], options: RunOptions = {}): Promise<Ran> {
  const child = spawn(program, words, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: (options.env ?? process.env) as NodeJS.ProcessEnv,
    stdio: ["pipe", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => resolve({ command: [program, ...words].join(" "), status, stdout, stderr }));
  });
}

/** The standard output of a program that has to succeed. */
export function outputOf(ran: Ran): string {
  if (ran.status === 0) return ran.stdout;
  throw new Error(`${ran.command} ended with status ${ran.status}:\n${ran.stdout}${ran.stderr}`);
}
