/**
 * The verbs' command line: names, options and help. What a verb does is imported when it is called, so that `--help`
 * and the fast verbs don't pay for the slow ones.
 */
import { Command, InvalidArgumentError } from "commander";
import type { StackChoice } from "./locate.ts";

/** @param exitWith Takes the exit status of the verb that ran (scripts/host/contract.ts, EXIT). */
export function buildProgram(exitWith: (status: number) => void): Command {
  const program = new Command("twofold")
    .description("Watches, drills and repairs the Core Lightning node that a stack's config declares.")
    .option("-s, --stack <name>", "the stack; default: $PULUMI_STACK, else the only one that there is")
    .option("--config-file <path>", "the stack's config file, if it is not Pulumi.STACK.yaml")
    .showHelpAfterError("(--help says what there is)")
    .enablePositionalOptions()
    .addHelpText(
      "after",
      "\nExit status: 0 done, 1 failed or a host can't be reached, 2 drift was found, 3 refused before anything was changed.",
    );

  /** Adds a verb; `-s` and `--config-file` are taken before and after its name. */
  const verb = (declaration: string, summary: string, description: string) =>
    program
      .command(declaration)
      .summary(summary)
      .description(`${summary[0]?.toUpperCase()}${summary.slice(1)}.\n\n${description}`)
      .option("-s, --stack <name>", "the stack; default: $PULUMI_STACK, else the only one that there is")
      .option("--config-file <path>", "the stack's config file, if it is not Pulumi.STACK.yaml");
  const json = ["--json", "print one JSON document instead of text"] as const;

  verb(
    "init",
    "start a new node for the first time",
    "Gives the permission for a first start: once, and only while no host has a wallet, a replica, an hsm_secret or a\n" +
      "witness of this node. Starts the unit, waits for the node's answer, and writes down its identity.\n" +
      "An interrupted init is finished by the next one.",
  )
    .option(...json)
    .action(async (options: StackChoice & { json?: true }, command: Command) =>
      exitWith(await (await import("./init.ts")).init({ ...options, ...choiceOf(command) })),
    );

  verb(
    "status",
    "show the node, its copies, devices and mounts",
    "Asks all hosts at once; a host that can't be reached is said to be so, and the exit status is then 1.",
  )
    .option(...json)
    .action(async (options: { json?: true }, command: Command) =>
      exitWith(await (await import("./status.ts")).status({ ...options, ...choiceOf(command) })),
    );

  verb(
    "check",
    "find what differs from the config on all hosts",
    "Changes nothing. Exit status 2 if something drifted (each item is named), 1 if a host can't be reached.",
  )
    .option(...json)
    .action(async (options: { json?: true }, command: Command) =>
      exitWith(await (await import("./check.ts")).check({ ...options, ...choiceOf(command) })),
    );

  verb(
    "repair",
    "show what differs from the config and put it back",
    "Shows what 'check' would, asks, and puts back exactly that.",
  )
    .option("-y, --yes", "don't ask")
    .option(...json)
    .action(async (options: { yes?: true; json?: true }, command: Command) =>
      exitWith(await (await import("./repair.ts")).repair({ ...options, ...choiceOf(command) })),
    );

  verb(
    "ssh <host> [command...]",
    "open a shell on a host, or run a command there",
    "With the pinned host key and the config's address, port and key. The command's words are joined by spaces and run\n" +
      "by the host's shell, as ssh(1) does.",
  )
    .passThroughOptions()
    .action(async (host: string, words: string[], _options: unknown, command: Command) =>
      exitWith(await (await import("./ssh-verb.ts")).sshVerb({ host, words, ...choiceOf(command) })),
    );

  verb(
    "gate",
    "show what the start gate would decide now",
    "Starts nothing. Shows both copies with their versions, the witnesses and hsm_secret, the decision, and the verb that\n" +
      "goes on from a refusal. Exit status 0 if the node may start, 1 if the gate would wait, 3 if it would refuse.",
  )
    .option(...json)
    .action(async (options: { json?: true }, command: Command) =>
      exitWith(await (await import("./gate.ts")).gate({ ...options, ...choiceOf(command) })),
    );

  verb(
    "survival",
    "print the survival table",
    "For every failure: does the node survive, what is lost at most, how long it stands still before money is at risk,\n" +
      "which verb repairs it, which test proved it and when. Asks no host.",
  )
    .option(...json)
    .action(async (options: { json?: true }, command: Command) =>
      exitWith(await (await import("./survival.ts")).survival({ ...options, ...choiceOf(command) })),
    );

  return program;
}

/** `-s` and `--config-file`, whether they stood before or after the verb's name. */
function choiceOf(command: Command): StackChoice {
  const { stack, configFile } = command.optsWithGlobals<StackChoice>();
  return { stack, configFile };
}

/** For `--for`: a whole number of hours or days, in seconds. */
export function parseDuration(text: string): number {
  const match = /^(\d+)([hd])$/.exec(text);
  const amount = Number(match?.[1]);
  if (match === null || amount === 0) {
    throw new InvalidArgumentError("a number of hours or days is wanted, e.g. 24h or 2d.");
  }
  return amount * (match[2] === "h" ? 3600 : 86_400);
}
