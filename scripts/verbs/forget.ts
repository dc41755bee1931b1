/** `./twofold forget HOST`: takes a host that is dead for good out of etcd and of what Patroni keeps there. */
import type { HostStatus } from "../host/commands/status.ts";
import { EXIT } from "../host/contract.ts";
import type { ForgetReport } from "../host/etcd/forget.ts";
import { Refusal } from "../host/stage.ts";
import { ask, callHost, lacksProgram, parseLastLine } from "./ask.ts";
import { confirmed } from "./confirm.ts";
import { Failure } from "./failure.ts";
import { type LoadedStack, loadStack } from "./load.ts";
import type { StackChoice } from "./locate.ts";
import { membersOf } from "./postgres.ts";
import type { Host } from "./ssh.ts";

export async function forget(name: string, options: StackChoice & { yes?: true; json?: true }): Promise<number> {
  const stack = loadStack(options);
  membersOf(stack);
  await refuseLiving(stack, name);
  process.stderr.write(
    `${name} is taken out of etcd and forgotten by Patroni. If it comes back it is a stranger: pulumi up lets it begin anew.\n` +
      `Commits that only ${name} has would be lost with it; the primary that is there now has every acknowledged one.\n`,
  );
  if (!options.yes && !(await confirmed(`Forget ${name} for good?`))) {
    process.stderr.write("nothing was changed\n");
    return EXIT.refused;
  }
  for (const host of etcdHosts(stack, name)) {
    const result = await callOn(stack, host, name);
    if (result === undefined) continue;
    if (result.status !== EXIT.ok) return result.status;
    const report = parseLastLine<ForgetReport>(result.stdout);
    process.stdout.write(
      options.json
        ? `${JSON.stringify(report)}\n`
        : `forgotten: ${name}; etcd: ${report?.members.join(", ")}\nnext: take ${name} out of the config, or give its name to a new machine, and run pulumi up\n`,
    );
    return EXIT.ok;
  }
  throw new Failure({
    code: "FORGET-NOBODY",
    what: "no other host of etcd answers",
    received: etcdHosts(stack, name)
      .map((host) => host.name)
      .join(", "),
    why: "a member is taken out by a majority of the others",
    fix: "bring a majority of them back first",
  });
}

function etcdHosts({ topology, host }: LoadedStack, without: string): Host[] {
  const { wallet } = topology.node;
  return wallet.kind === "postgres" ? wallet.etcd.filter((name) => name !== without).map(host) : [];
}

/** Undefined if the host can't be asked. */
async function callOn(stack: LoadedStack, host: Host, name: string) {
  try {
    const result = await callHost(host, ["forget", name], {
      input: JSON.stringify(stack.documents(host)),
      onLine: (line, stream) => stream === "stderr" && process.stderr.write(`${line}\n`),
    });
    return lacksProgram(result) ? undefined : result;
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

/** @throws {Refusal} if the host answers the operator; whether it answers the others is asked on one of them. */
async function refuseLiving(stack: LoadedStack, name: string): Promise<void> {
  const host = stack.hosts.find((one) => one.name === name);
  if (host === undefined) return;
  const answer = await ask<HostStatus>(host, ["status"], stack.documents(host));
  if (answer.kind === "failed") {
    process.stderr.write(`${name} does not answer: ${answer.error.split("\n")[0] ?? ""}\n`);
    return;
  }
  throw new Refusal({
    code: "FORGET-ANSWERS",
    what: `${name} answers, so it is not dead for good`,
    received: "an answer over SSH",
    why: "a member that runs is taken out in order: others take over from it first, and it stops",
    fix: `take ${name} out of members and etcd, leave it under twofold:hosts, and run pulumi up`,
  });
}
