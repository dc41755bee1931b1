/** Asking all hosts at once, one SSH connection each, through the host program of this very version. */
import { bundleHostProgram, type HostProgram } from "../host/build.ts";
import { EXIT, PROGRAM_DIRECTORY } from "../host/contract.ts";
import { Refusal } from "../host/stage.ts";
import { Failure } from "./failure.ts";
import { type Host, quoteWord, type RemoteOptions, type RemoteResult, runOnHost } from "./ssh.ts";

/** What became of asking one host. */
export type Answer<T> =
  | { host: string; kind: "answer"; status: number; value: T }
  /** The host can't be reached, is not the pinned one, or did not answer as it should. */
  | { host: string; kind: "failed"; error: string }
  /** The host has no host program, or another version of it. */
  | { host: string; kind: "no-program"; error: string };

/** The shell's statuses for a command that is not there or can't be run (POSIX, 2.8.2). */
const NOT_RUNNABLE = [126, 127];

/** Bundled once a process, however many hosts are asked. */
let program: Promise<HostProgram> | undefined;

/** Runs a command of the host program. */
export async function callHost(host: Host, words: string[], options: RemoteOptions = {}): Promise<RemoteResult> {
  program ??= bundleHostProgram();
  const { sha256 } = await program;
  return runOnHost(host, [`${PROGRAM_DIRECTORY}/run`, sha256, ...words].map(quoteWord).join(" "), options);
}

/** True if the host answered that it hasn't the program, or another version. */
export function lacksProgram({ status }: RemoteResult): boolean {
  return status === EXIT.otherProgram || NOT_RUNNABLE.includes(status);
}

/** What launcher or shell say, in their first line; the rest is for who calls them by hand. */
export function whyNoProgram({ stderr }: RemoteResult): string {
  return stderr.trim().split("\n")[0] ?? "";
}

/** Runs a command of the host program that ends with one line of JSON on stdout, and never throws. */
export async function ask<T>(
  host: Host,
  words: string[],
  input: unknown,
  options: RemoteOptions = {},
): Promise<Answer<T>> {
  try {
    const result = await callHost(host, words, { ...options, input: JSON.stringify(input) });
    if (lacksProgram(result)) {
      return { host: host.name, kind: "no-program", error: whyNoProgram(result) };
    }
    const value = parseLastLine<T>(result.stdout);
    return value === undefined
      ? { host: host.name, kind: "failed", error: unexpected(host, words, result).message }
      : { host: host.name, kind: "answer", status: result.status, value };
  } catch (error) {
    if (error instanceof Refusal) {
      return { host: host.name, kind: "failed", error: error.message };
    }
    throw error;
  }
}

/** The last line of an output as JSON, or undefined if it is none. Progress may stand before it. Pure. */
export function parseLastLine<T>(stdout: string): T | undefined {
  try {
    return JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "") as T;
  } catch {
    return undefined;
  }
}

/** The host program ended otherwise than it may: its own words are what helps. */
export function unexpected(host: Host, words: string[], { status, stdout, stderr }: RemoteResult): Failure {
  return new Failure({
    code: "host/unexpected",
    what: `'${words.join(" ")}' on host ${host.name} ended with status ${status} and no answer`,
    received: lastLines(stderr || stdout) || "nothing was printed",
    why: "its result is not known",
    fix: `see 'journalctl -b' on ${host.name}, and try again`,
  });
}

/** The end of an output, indented for a message. Pure. */
export function lastLines(text: string): string {
  return text.trim().split("\n").slice(-8).join("\n    ");
}
