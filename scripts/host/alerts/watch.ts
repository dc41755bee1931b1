/** One look at the host: what is seen, what is told of it, and who is told. */

import { lastApplied } from "../applied.ts";
import { ALERTS, type AlertsDocument, type DocumentOf, hasPostgresWallet, type StageName } from "../contract.ts";
import { readText } from "../read.ts";
import { parseDocumentOf, parseDocumentText } from "../schema.ts";
import type { Condition, Seen } from "./alert.ts";
import { callCommand } from "./call.ts";
import { advance, called, type History } from "./history.ts";
import { lookAtCertificates } from "./looks/certificates.ts";
import { lookAtEtcd } from "./looks/etcd.ts";
import { lookAtDegraded, lookAtNode } from "./looks/node.ts";
import { findCancelled, lookAtPostgres, mergeCancelled } from "./looks/postgres.ts";
import { lookAtReplica } from "./looks/replica.ts";
import { lookAtRoom, lookAtVolumes } from "./looks/volumes.ts";
import { lookAtWitnesses } from "./looks/witness.ts";
import { lastLook, noteLook, readHistory, writeHistory } from "./store.ts";
import { journalLine } from "./words.ts";

/** A look that hangs on a dead disk or host must not keep the others from being told. */
const LOOK_DEADLINE_MS = 25_000;
const DAY_MS = 86_400_000;

interface Look {
  name: string;
  run(): Promise<Condition[]>;
}

/** The host's own document; undefined before the stage was applied. */
export async function readAlertsDocument(): Promise<AlertsDocument | undefined> {
  const text = await readText(ALERTS.config);
  const document = text === undefined ? undefined : parseDocumentText(text);
  return document?.stage === "alerts" ? document : undefined;
}

/** A look that throws or hangs is one of which nothing is known. */
export async function carryOut({ name, run }: Look, deadlineMs = LOOK_DEADLINE_MS): Promise<Seen> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Seen>((resolve) => {
    timer = setTimeout(
      () => resolve({ look: name, failed: `no answer within ${deadlineMs / 1000} s: something hangs` }),
      deadlineMs,
    );
  });
  const look = run().then(
    (conditions): Seen => ({ look: name, conditions }),
    (error): Seen => ({ look: name, failed: error instanceof Error ? error.message : String(error) }),
  );
  return Promise.race([look, late]).finally(() => clearTimeout(timer));
}

interface Context {
  alerts: AlertsDocument;
  history: History;
  now: Date;
}

type StageLooks<S extends StageName> = Record<
  string,
  (document: DocumentOf<S>, context: Context) => Promise<Condition[]>
>;

/** Looks by their names, for each stage. Two stages may have the same one. */
const LOOKS: { [S in StageName]?: StageLooks<S> } = {
  storage: {
    volumes: lookAtVolumes,
    room: ({ volumes }, { alerts }) =>
      lookAtRoom(
        volumes.map(({ mount }) => mount),
        alerts.freePercent,
      ),
  },
  replica: { replica: lookAtReplica },
  etcd: {
    etcd: (document, { now }) => lookAtEtcd(document, now),
    certificates: (_, { now }) => lookAtCertificates(now),
  },
  postgres: {
    PostgreSQL: (document, { alerts, history }) => lookAtPostgres(document, alerts.lagBytes, history.cancelled ?? []),
    certificates: (_, { now }) => lookAtCertificates(now),
  },
  lightningd: {
    node: lookAtNode,
    "degraded mode": (_, { now }) => lookAtDegraded(now),
    witnesses: lookAtWitnesses,
    certificates: async (document, { now }) => (hasPostgresWallet(document) ? lookAtCertificates(now) : []),
  },
};

/** The document as it was applied to this host. @throws if it never was wholly, or if another version wrote it */
async function readDocument<S extends StageName>(stage: S): Promise<DocumentOf<S>> {
  const text = await lastApplied(stage);
  if (text === undefined)
    throw new Error(`stage ${stage} is declared for this host and was not applied wholly: run pulumi up`);
  return parseDocumentOf(stage, text, "watch") as DocumentOf<S>;
}

/** A stage without a document is one of whose looks nothing is known. */
function looksOf<S extends StageName>(stage: S, context: Context): Look[] {
  const document = readDocument(stage);
  const looks: StageLooks<S> = LOOKS[stage] ?? {};
  return Object.entries(looks).map(([name, look]) => ({
    name,
    run: async () => look(await document, context),
  }));
}

function allLooks(context: Context): Look[] {
  const { alerts } = context;
  const root: Look = { name: "root disk", run: () => lookAtRoom(["/"], alerts.freePercent) };
  const looks = alerts.stages.flatMap((stage) => looksOf(stage, context));
  return [...new Map([root, ...looks].map((look) => [look.name, look])).values()];
}

/** Adds what the journal has since it was last searched. Where that can't be searched, the next look searches for this one too. */
async function searchJournal(
  alerts: AlertsDocument,
  history: History,
  searched: Date | undefined,
  now: Date,
): Promise<{ history: History; searched: Date | undefined; failed?: string }> {
  const { cancelled: known = [], ...kept } = history;
  if (!alerts.stages.includes("postgres")) return { history: kept, searched: now };
  try {
    const found = await findCancelled(searched ?? new Date(now.getTime() - DAY_MS));
    const cancelled = mergeCancelled(known, found, now);
    return { history: { ...kept, ...(cancelled.length > 0 ? { cancelled } : {}) }, searched: now };
  } catch (error) {
    return { history, searched, failed: String(error) };
  }
}

/** @param say takes a line for the journal with its priority (sd-daemon(3)) */
export async function watch(alerts: AlertsDocument, say: (line: string) => void): Promise<void> {
  const { host, command } = alerts;
  const now = new Date();
  const [read, last] = await Promise.all([readHistory(), lastLook()]);
  if (read.problem !== undefined) say(`<4>${read.problem}`);
  const journal = await searchJournal(alerts, read.history, last?.searched, now);
  const looks = allLooks({ alerts, history: journal.history, now });
  const seen: Seen[] = await Promise.all(looks.map((look) => carryOut(look)));
  if (journal.failed !== undefined) seen.push({ look: "PostgreSQL's log", failed: journal.failed });
  const policy = { command: command !== undefined, repeatMs: alerts.repeatMinutes * 60_000 };
  const { history, events } = advance(journal.history, seen, now, policy);
  for (const event of events) say(journalLine(host, event));
  // Before the call: what it takes and this process does not come to write down is told twice, and never not at all.
  await writeHistory(history);
  if (command !== undefined && history.outbox.length > 0) {
    const why = await callCommand(alerts, command, history.outbox);
    if (why !== undefined) say(`<4>the alert command was not told: ${why}`.replaceAll("\n", " "));
    await writeHistory(called(history, why === undefined ? { ok: true } : { ok: false, why }, new Date()));
  }
  await noteLook(journal.searched);
}
