/**
 * The host program. Started by the launcher (`/usr/local/lib/twofold/run SHA256 COMMAND …`), by units and by cron, on the
 * distribution's Node (20).
 */
import type { Command } from "./command.ts";
import { apply } from "./commands/apply.ts";
import { check } from "./commands/check.ts";
import { degrade } from "./commands/degrade.ts";
import { etcdRebuild } from "./commands/etcd-rebuild.ts";
import { etcdSnapshot } from "./commands/etcd-snapshot.ts";
import { forget } from "./commands/forget.ts";
import { gate } from "./commands/gate.ts";
import { init } from "./commands/init.ts";
import { initSurvey } from "./commands/init-survey.ts";
import { plan } from "./commands/plan.ts";
import { postgres } from "./commands/postgres.ts";
import { repair } from "./commands/repair.ts";
import { repairWork } from "./commands/repair-work.ts";
import { replicaAuthorize } from "./commands/replica-authorize.ts";
import { replicaBeforeMount } from "./commands/replica-before-mount.ts";
import { replicaKey } from "./commands/replica-key.ts";
import { replicaWatch } from "./commands/replica-watch.ts";
import { restore } from "./commands/restore.ts";
import { resume } from "./commands/resume.ts";
import { resync } from "./commands/resync.ts";
import { status } from "./commands/status.ts";
import { stop } from "./commands/stop.ts";
import { tlsInstall } from "./commands/tls-install.ts";
import { tlsRequest } from "./commands/tls-request.ts";
import { tlsSign } from "./commands/tls-sign.ts";
import { watch } from "./commands/watch.ts";
import { witnessAuthorize } from "./commands/witness-authorize.ts";
import { witnessKey } from "./commands/witness-key.ts";
import { witnessRebuild } from "./commands/witness-rebuild.ts";
import { witnessRecord } from "./commands/witness-record.ts";
import { witnessReplace } from "./commands/witness-replace.ts";
import { witnessServe } from "./commands/witness-serve.ts";
import { work } from "./commands/work.ts";
import { describeError } from "./errors.ts";
import { Refusal } from "./stage.ts";

/** Every command by its name. */
const COMMANDS: Record<string, Command> = {
  apply,
  plan,
  check,
  repair,
  status,
  stop,
  gate,
  init,
  "init-survey": initSurvey,
  "replica-key": replicaKey,
  "replica-authorize": replicaAuthorize,
  "replica-before-mount": replicaBeforeMount,
  "replica-watch": replicaWatch,
  postgres,
  forget,
  "tls-request": tlsRequest,
  "tls-sign": tlsSign,
  "tls-install": tlsInstall,
  watch,
  "etcd-snapshot": etcdSnapshot,
  "etcd-rebuild": etcdRebuild,
  "witness-key": witnessKey,
  "witness-authorize": witnessAuthorize,
  "witness-record": witnessRecord,
  "witness-rebuild": witnessRebuild,
  "witness-replace": witnessReplace,
  restore,
  resync,
  resume,
  degrade,
  "repair-work": repairWork,
  "witness-serve": witnessServe,
  work,
};

async function main([name = "", ...args]: readonly string[]): Promise<number> {
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command !== undefined) return command.run(args);
  throw new Refusal({
    code: "HOST-ARGUMENTS",
    what: "there is no such command",
    received: name || "nothing",
    why: "nothing can be done",
    fix: `use one of:\n${Object.values(COMMANDS)
      .map((each) => `    ${each.usage.padEnd(32)}${each.summary}`)
      .join("\n")}`,
  });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const { text, status } = describeError(error);
  console.error(text);
  process.exitCode = status;
}
