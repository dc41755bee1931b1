/**
 * The verbs' command line: names, options and help. What a verb does is imported when it is called, so that `--help`
 * and the fast verbs don't pay for the slow ones.
 */
import { Argument, Command } from "commander";
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
  const reason = ["--reason <text>", "why, for whoever reads the audit log later"] as const;

  verb(
    "init",
    "start a new node for the first time",
    "Gives the permission for a first start: once, and only while no host has a wallet, a replica, an hsm_secret or a " +
      "witness of this node. Starts the unit, waits for the node's answer, and writes down its identity. " +
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
    "alerts",
    "show what is wrong by the hosts' own looks, or test the alert command",
    "Each host looks at itself once a minute and keeps what is wrong, since when, and whether the alert command took it. " +
      "Exit status 2 if there is an alert, 1 if a host can't be reached. 'test' calls the alert command of every host now, " +
      "with a message that says that it is a test.",
  )
    .addArgument(new Argument("[what]", "what to do").choices(["show", "test"]).default("show"))
    .option(...json)
    .action(async (what: string, options: { json?: true }, command: Command) => {
      const { showAlerts, testAlerts } = await import("./alerts.ts");
      exitWith(await (what === "test" ? testAlerts : showAlerts)({ ...options, ...choiceOf(command) }));
    });

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
    "With the pinned host key and the config's address, port and key. The command's words are joined by spaces and run " +
      "by the host's shell, as ssh(1) does.",
  )
    .passThroughOptions()
    .action(async (host: string, words: string[], _options: unknown, command: Command) =>
      exitWith(await (await import("./ssh-verb.ts")).sshVerb({ host, words, ...choiceOf(command) })),
    );

  verb(
    "gate",
    "show what the start gate would decide now",
    "Starts nothing. Shows both copies with their versions, the witnesses and hsm_secret, the decision, and the verb that " +
      "goes on from a refusal. Exit status 0 if the node may start, 1 if the gate would wait, 3 if it would refuse.",
  )
    .option(...json)
    .action(async (options: { json?: true }, command: Command) =>
      exitWith(await (await import("./gate.ts")).gate({ ...options, ...choiceOf(command) })),
    );

  verb(
    "restore",
    "copy the replica to main",
    "Checks the replica first (integrity, node id, not older than the witness). The damaged main is kept aside. Wants the " +
      "node stopped, and starts nothing: look at 'gate' next.",
  )
    .addArgument(new Argument("<copy>", "what to restore from").choices(["replica"]))
    .option(...json)
    .action(async (copy: string, options: { json?: true }, command: Command) =>
      exitWith(await (await import("./recover.ts")).recover(["restore", copy], { ...options, ...choiceOf(command) })),
    );

  verb(
    "resync",
    "copy main to the replica anew",
    "Stops the node, copies, compares, starts the node. What was there is kept aside, and the reason is written down.",
  )
    .addArgument(new Argument("<copy>", "what to write anew").choices(["replica"]))
    .requiredOption(...reason)
    .option(...json)
    .action(async (copy: string, options: { json?: true; reason: string }, command: Command) =>
      exitWith(
        await (await import("./recover.ts")).recover(["resync", copy, "--reason", options.reason], {
          ...options,
          ...choiceOf(command),
        }),
      ),
    );

  verb(
    "degrade",
    "let the node go on for a while without its replica or a witness",
    "For as long as --for says, the node may start and run without it; that is an alert, which is repeated, and the survival " +
      "table does not hold. When the time is over a node that runs goes on running on one copy, and a louder alert says so; " +
      "its next start waits for what is missing. Only 'degrade end' ends it: it stops the node, copies main to the replica, " +
      "compares the two and starts the node again.",
  )
    .addArgument(new Argument("<what>", "what is missing, or end").choices(["replica", "witness", "end"]))
    .option("--for <time>", "how long at most, e.g. 24h or 2d")
    .option(...reason)
    .option(...json)
    .action(async (what: string, options: { json?: true; for?: string; reason?: string }, command: Command) =>
      exitWith(
        await (await import("./recover.ts")).recover(
          ["degrade", what, ...flag("--for", options.for), ...flag("--reason", options.reason)],
          { ...options, ...choiceOf(command) },
        ),
      ),
    );

  verb(
    "witness",
    "make the rollback witness anew from the copies",
    "For a witness that was lost, and for a wallet that was brought here from elsewhere. Stops the node, compares all copies, " +
      "sets the mark on every host that keeps one, and writes down why. Then a node that ran is started again.",
  )
    .addArgument(new Argument("<what>", "what to do").choices(["rebuild"]))
    .requiredOption(...reason)
    .option("--lower-to <version>", "accept the loss that the refusal named: main's data_version")
    .option("--replace-node <id...>", "give up the marks of another node, which the refusal named by its id")
    .option(...json)
    .action(
      async (
        _what: string,
        options: { json?: true; reason: string; lowerTo?: string; replaceNode?: string[] },
        command: Command,
      ) => exitWith(await (await import("./witness.ts")).rebuildWitness({ ...options, ...choiceOf(command) })),
    );

  verb(
    "switchover [member]",
    "hand the PostgreSQL cluster over to a synchronous standby",
    "Nothing is lost: the primary sends its last commits before it stops. lightningd ends and comes back on the new primary by " +
      "itself. Without a name Patroni's first synchronous standby is taken.",
  )
    .option(...json)
    .action(async (member: string | undefined, options: { json?: true }, command: Command) =>
      exitWith(await (await import("./postgres.ts")).switchover(member, { ...options, ...choiceOf(command) })),
    );

  verb(
    "failover <member>",
    "promote a member of the PostgreSQL cluster that has no healthy primary",
    "For when Patroni does not promote one by itself. Shows what each member has and what could be lost, and asks. Commits that " +
      "only dead members have are gone: for a Lightning node an old state can cost all channels.",
  )
    .option("-y, --yes", "don't ask")
    .option(...json)
    .action(async (member: string, options: { yes?: true; json?: true }, command: Command) =>
      exitWith(await (await import("./postgres.ts")).failover(member, { ...options, ...choiceOf(command) })),
    );

  verb(
    "reinit <member>",
    "make a standby of the PostgreSQL cluster anew from the primary",
    "Throws its data away and copies the primary's. Never the primary; asks before it begins.",
  )
    .option("-y, --yes", "don't ask")
    .option(...json)
    .action(async (member: string, options: { yes?: true; json?: true }, command: Command) =>
      exitWith(await (await import("./postgres.ts")).reinit(member, { ...options, ...choiceOf(command) })),
    );

  verb(
    "restart [member]",
    "restart PostgreSQL on the members whose settings wait for it",
    "One at a time, each when all others take part again; the primary is moved before its own turn, so that it comes last. " +
      "Settings that need a restart are put in place by pulumi up, and wait for this verb ('A RESTART IS PENDING' in status).",
  )
    .option("--all", "every member, whether anything waits for it or not")
    .option(...json)
    .action(async (member: string | undefined, options: { all?: true; json?: true }, command: Command) =>
      exitWith(await (await import("./postgres.ts")).restart(member, { ...options, ...choiceOf(command) })),
    );

  verb(
    "forget <host>",
    "take a host that is dead for good out of the cluster",
    "For a member whose host will not come back: it counts in etcd's majority until it is taken out. Refuses while the host " +
      "answers, and while there is no other primary. Then take it out of the config, or give its name to a new machine, and run " +
      "pulumi up. A host that is there is taken out by the config alone: no longer named in members and etcd, still under hosts.",
  )
    .option("-y, --yes", "don't ask")
    .option(...json)
    .action(async (host: string, options: { yes?: true; json?: true }, command: Command) =>
      exitWith(await (await import("./forget.ts")).forget(host, { ...options, ...choiceOf(command) })),
    );

  verb(
    "etcd",
    "make the cluster's store anew after a majority of etcd has lost it",
    "The wallet is not in it, but who is primary is. Stops PostgreSQL and etcd on all hosts, finds the member whose log goes " +
      "farthest, and lets a new store begin with that one as the primary, before any other starts. Refuses while etcd has a majority, " +
      "and while a host can't be asked. An interrupted one is finished by the next; until then nothing else starts a member.",
  )
    .addArgument(new Argument("<what>", "what to do").choices(["rebuild"]))
    .option("-y, --yes", "don't ask")
    .option(...json)
    .action(async (_what: string, options: { yes?: true; json?: true }, command: Command) =>
      exitWith(await (await import("./etcd.ts")).rebuildEtcd({ ...options, ...choiceOf(command) })),
    );

  verb(
    "certificates",
    "make the cluster's certificates anew",
    "Each host keeps its keys; the authority's host signs new certificates, and etcd, Patroni and PostgreSQL read them without " +
      "a restart. One host after the other. lightningd and the gate read theirs at each connection.\n\n" +
      "With --new-authority all hosts change at once, and etcd restarts: commits stop for some seconds. A host that is dead for good " +
      "has to leave the config first.",
  )
    .addArgument(new Argument("<what>", "what to do").choices(["renew"]))
    .option("--new-authority", "take the certificates of another authority, after the one of before was lost")
    .option(...json)
    .action(async (_what: string, options: { json?: true; newAuthority?: true }, command: Command) =>
      exitWith(await (await import("./certificates.ts")).renewCertificates({ ...options, ...choiceOf(command) })),
    );

  verb(
    "survival",
    "print the survival table",
    "For every failure: does the node survive, what is lost at most, how long it stands still before money is at risk, " +
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

function flag(name: string, value: string | undefined): string[] {
  return value === undefined ? [] : [name, value];
}
