/** `./twofold etcd rebuild`: a new store for a cluster that has lost the one it had (scripts/host/etcd/rebuild.ts). */
import { EXIT, type StageDocument } from "../host/contract.ts";
import type { RebuildLook, Stopped } from "../host/etcd/rebuild.ts";
import { compareEnds, type LogEnd } from "../host/postgres/log-end.ts";
import { Refusal } from "../host/stage.ts";
import { type Answer, ask } from "./ask.ts";
import { confirmed } from "./confirm.ts";
import { type LoadedStack, loadStack } from "./load.ts";
import type { StackChoice } from "./locate.ts";
import { membersOf } from "./postgres.ts";

type Documents = (name: string) => StageDocument[];

export async function rebuildEtcd(options: StackChoice & { yes?: true; json?: true }): Promise<number> {
  const stack = loadStack(options);
  const members = membersOf(stack);
  const { wallet } = stack.topology.node;
  const etcd = wallet.kind === "postgres" ? wallet.etcd : [];
  const all = [...new Set([...members, ...etcd])];
  const documents: Documents = (name) =>
    stack.documents(stack.host(name)).filter(({ stage }) => stage === "etcd" || stage === "postgres");
  const step = <T>(names: string[], ...words: string[]) => eachOf<T>(stack, documents, names, words);

  requireLost(await step<RebuildLook>(all, "look"));
  process.stderr.write(
    `PostgreSQL and etcd are stopped on ${all.join(", ")}. The member whose log goes farthest becomes the primary of a new store, before any other one starts.\n`,
  );
  if (!options.yes && !(await confirmed("Begin a new store?"))) {
    process.stderr.write("nothing was changed\n");
    return EXIT.refused;
  }
  const stopped = await step<Stopped>(all, "stop");
  const newest = newestOf(stopped.filter(({ host }) => members.includes(host)));
  process.stderr.write(endsText(stopped, newest.host));
  await step(etcd, "begin");
  const [first = ""] = etcd;
  const named: Documents = () => documents(newest.host).filter(({ stage }) => stage === "postgres");
  await eachOf(stack, named, [first], ["name", newest.end.systemIdentifier]);
  await step([newest.host], "start");
  await step(
    all.filter((name) => name !== newest.host),
    "start",
  );
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ primary: newest.host, members: stopped.map(({ host, value }) => ({ host, ...value })) })}\n`
      : `primary: ${newest.host}\n`,
  );
  return EXIT.ok;
}

export interface Told<T> {
  host: string;
  value: T;
}

/** A step on several hosts at once. @throws {Refusal} if one of them does not do it */
async function eachOf<T>(
  stack: LoadedStack,
  documents: Documents,
  names: string[],
  words: string[],
): Promise<Told<T>[]> {
  const answers = await Promise.all(
    names.map((name) =>
      ask<T>(stack.host(name), ["etcd-rebuild", ...words], documents(name), {
        onLine: (line, stream) => stream === "stderr" && process.stderr.write(`${name}: ${line}\n`),
      }),
    ),
  );
  const failed = answers.filter((answer): answer is Exclude<Answer<T>, { kind: "answer" }> => answer.kind !== "answer");
  if (failed.length === 0)
    return answers.flatMap((answer) => (answer.kind === "answer" ? [{ host: answer.host, value: answer.value }] : []));
  throw new Refusal({
    code: "ETCD-REBUILD",
    what: `'${words.join(" ")}' was not done on ${failed.map(({ host }) => host).join(" and ")}`,
    received: failed.map(({ host, error }) => `${host}: ${error}`).join("; "),
    why: "the member that can't be asked may be the one with the newest commits",
    fix: "bring it back and run this again; a host that is dead for good has to leave members and etcd in the config first, and what only it had is lost",
  });
}

/** @throws {Refusal} where a majority has its store. Pure. */
export function requireLost(looks: Told<RebuildLook>[]): void {
  const having = looks.filter(({ value }) => value.majority);
  if (having.length === 0 || looks.some(({ value }) => value.rebuilding)) return;
  throw new Refusal({
    code: "ETCD-HAS-MAJORITY",
    what: "etcd has a majority",
    received: `${having.map(({ host }) => host).join(", ")} answer with one`,
    why: "it knows who is primary; a new store would only take that from it",
    fix: "./twofold repair brings back a member that has lost its own data; ./twofold status shows the members",
  });
}

/** The member whose log goes farthest; one whose copy was never finished is none. @throws {Refusal} Pure. */
export function newestOf(stopped: Told<Stopped>[]): { host: string; end: LogEnd } {
  const ends = stopped.flatMap(({ host, value: { end } }) => (end === null || end.unfinished ? [] : [{ host, end }]));
  const [newest] = [...ends].sort((a, b) => compareEnds(b.end, a.end));
  const systems = new Set(ends.map(({ end }) => end.systemIdentifier));
  if (newest !== undefined && systems.size === 1) return newest;
  throw new Refusal({
    code: "ETCD-REBUILD-DATA",
    what: newest === undefined ? "no member has data to go on with" : "the members' data are not of one cluster",
    received: stopped.map((each) => endText(each)).join("; "),
    why: "the new store names one member as the primary, and the others are made to follow it",
    fix:
      newest === undefined
        ? "bring a member's data back; all members are stopped, and ./twofold etcd rebuild goes on from here"
        : "find out which data is the wallet's, and move the other away on its host; then run this again",
  });
}

function endText({ host, value: { end } }: Told<Stopped>): string {
  if (end === null) return `${host}: no data`;
  return `${host}: timeline ${end.timeline}, log up to ${end.position}${end.unfinished ? ", a copy that was never finished" : ""}`;
}

function endsText(stopped: Told<Stopped>[], newest: string): string {
  const lines = stopped.map((each) => `  ${endText(each)}${each.host === newest ? " (goes farthest)" : ""}`);
  return `${lines.join("\n")}\n`;
}
