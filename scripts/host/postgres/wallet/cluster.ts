/** The wallet's cluster as the gate sees it: one short look at every member, as the gate's own role. Changes nothing. */
import { readdir } from "node:fs/promises";
import { connect } from "node:net";
import { loadTemplate } from "../../../../templates/load.ts";
import { binDirectory } from "../../../../templates/patroni.ts";
import { connectionWords } from "../../../../templates/postgres-dsn.ts";
import { CLUSTER_PORTS, type ClusterMember, type PostgresWalletDocument } from "../../contract.ts";
import { run } from "../../process.ts";

/** A standby that streams from the primary. */
export interface Standby {
  name: string;
  /** The primary waits for it. */
  sync: boolean;
  /** It has flushed the marker that this look has put into the primary's log. */
  flushed: boolean;
  /** From a commit's write on the primary to its flush there; null on an idle cluster. */
  lagMs: number | null;
}

export interface Primary {
  state: "primary";
  /** Its address in the topology: where it was asked, and where lightningd is to connect. */
  server: string;
  systemIdentifier: string;
  timeline: number;
  /** The wallet's tables are there. */
  claimed: boolean;
  /** `data_version`, read before the marker. */
  version: number | null;
  /** The same after the wait for the marker: another one belongs to a commit that the marker does not cover. */
  latest: number | null;
  nodeId: string | null;
  /** The marker's end in the log (an LSN). */
  asked: string;
  settings: Record<string, string>;
  roleSettings: string[];
  standbys: Standby[];
  /** Sessions of the node's own role. */
  sessions: { pid: number; client: string | null; since: string; application: string }[];
}

/** What one member said. */
export type MemberView =
  | { state: "unseen"; server: string; why: string }
  | { state: "standby"; server: string }
  | Primary;

export type ClusterState =
  | { state: "unreachable"; why: string }
  | (Primary & {
      /** Members that did not say what they are. */
      unseen: string[];
    });

/** Where Debian's packages of PostgreSQL are, a directory a version. */
const VERSIONS = "/usr/lib/postgresql";
/** Of a host that is gone without a word: a living one's kernel answers in the time of a packet's way. */
const PROBE_MS = 500;
/** Of one member's whole answer. */
const ANSWER_MS = 15_000;
/** For the other members, once one has answered as a primary that has its standbys: those that live answer at about the same time. */
const GRACE_MS = 250;

/**
 * Each member is asked by itself: one that is primary and should not be (its Patroni stands still, another member was promoted) must not
 * hide the one that is, wherever it is in the list, and a dead one must not delay the answer.
 */
export async function readCluster(wallet: PostgresWalletDocument): Promise<ClusterState> {
  const ended = new AbortController();
  try {
    const asking = wallet.members.map((member) => ({
      server: member.address,
      view: askMember(wallet, member, ended.signal),
    }));
    return choosePrimary(await gather(asking, wallet.synchronousStandbys), wallet.synchronousStandbys);
  } finally {
    ended.abort();
  }
}

/** All answers, or those that are there a moment after one that can't be bettered. */
export async function gather(
  asking: readonly { server: string; view: Promise<MemberView> }[],
  required: number,
  graceMs = GRACE_MS,
): Promise<MemberView[]> {
  const views = asking.map(({ server }): MemberView => ({ state: "unseen", server, why: `${server}: no answer yet` }));
  let timer: NodeJS.Timeout | undefined;
  const inTime = new Promise<void>((resolve) => {
    asking.forEach(({ view }, index) => {
      view.then(
        (seen) => {
          views[index] = seen;
          if (seen.state === "primary" && hasStandbys(seen, required)) timer ??= setTimeout(resolve, graceMs);
        },
        // The caller sees it by Promise.all.
        () => {},
      );
    });
  });
  await Promise.race([Promise.all(asking.map(({ view }) => view)), inTime]).finally(() => clearTimeout(timer));
  return views;
}

/**
 * The primary of the newest history; of two of one history, the one that standbys follow. A stale one is never taken for the sake of its
 * standbys: Patroni promotes a synchronous standby only, and that one does not flush what a former primary sends. Pure.
 */
export function choosePrimary(views: readonly MemberView[], required: number): ClusterState {
  const [primary] = views
    .filter((view) => view.state === "primary")
    .sort((a, b) => b.timeline - a.timeline || Number(hasStandbys(b, required)) - Number(hasStandbys(a, required)));
  const unseen = views.filter(({ state }) => state === "unseen").map(({ server }) => server);
  if (primary !== undefined) return { ...primary, unseen };
  const why = views.map((view) => (view.state === "unseen" ? view.why : `${view.server} is a standby`));
  return { state: "unreachable", why: [...new Set(why)].join("; ") };
}

async function askMember(
  wallet: PostgresWalletDocument,
  member: ClusterMember,
  signal: AbortSignal,
): Promise<MemberView> {
  const server = member.address;
  const unseen = (why: string): MemberView => ({ state: "unseen", server, why });
  const refused = await probe(server, signal);
  if (refused !== undefined) return unseen(refused);
  const words = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"];
  const variables = [`--set=role=${wallet.role}`, `--set=required=${wallet.synchronousStandbys}`];
  const ran = await run(await psqlProgram(), [...words, ...variables, `--dbname=${connectionWords(wallet, member)}`], {
    input: loadTemplate("postgres-wallet.sql"),
    signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]),
  });
  if (ran.status !== 0) return unseen(whyNot(ran.stderr) || `${server}: psql ended with status ${ran.status}`);
  return { ...(JSON.parse(ran.stdout) as MemberView), server };
}

/** libpq has no shorter timeout than two seconds. @returns why there is no connection, or undefined if there is one */
function probe(host: string, signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port: CLUSTER_PORTS.postgres, signal });
    const end = (why?: string) => {
      socket.destroy();
      resolve(why);
    };
    // Also of the time in which a name is looked up.
    const timer = setTimeout(() => end(`${host} does not answer within ${PROBE_MS} ms`), PROBE_MS);
    socket.once("close", () => clearTimeout(timer));
    socket.once("connect", () => end());
    socket.once("error", (error) => end(`${host}: ${error.message}`));
  });
}

/** Debian's psql finds a version by itself and takes longer for it than the whole answer does; this is the newest one that is there. */
async function psqlProgram(): Promise<string> {
  const versions = (await readdir(VERSIONS).catch(() => [])).map(Number).filter(Number.isInteger);
  return versions.length === 0 ? "psql" : `${binDirectory(Math.max(...versions))}/psql`;
}

/** psql says the same for each address of a name; each reason once. Pure. */
export function whyNot(stderr: string): string {
  const lines = stderr
    .split("\n")
    .map((line) => line.replace(/^psql: error: /, "").trim())
    .filter((line) => line !== "" && !/^Is the server running/.test(line));
  return [...new Set(lines)].slice(0, 6).join("; ");
}

/** Synchronous standbys that have flushed what the primary had. */
export const flushedBy = ({ standbys }: Pick<Primary, "standbys">): Standby[] =>
  standbys.filter(({ sync, flushed }) => sync && flushed);

const hasStandbys = (primary: Primary, required: number): boolean => flushedBy(primary).length >= required;
