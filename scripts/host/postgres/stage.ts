/** One member of the PostgreSQL cluster. Who is primary, and when that changes, is Patroni's alone. */
import { setTimeout as delay } from "node:timers/promises";
import { loadTemplate } from "../../../templates/load.ts";
import { dynamicConfiguration, renderRoles } from "../../../templates/patroni.ts";
import { type PostgresDocument, tlsFiles } from "../contract.ts";
import { must, run } from "../process.ts";
import type { ApplyContext, Stage } from "../stage.ts";
import { readOtherCertificate } from "../tls/shown.ts";
import { POSTGRES, type PostgresFacts, readPostgresFacts } from "./facts.ts";
import { askPatroni, readMembers, takesPart } from "./patroni.ts";
import { type PostgresAction, planPostgres, postgresItems } from "./plan.ts";
import { psql } from "./psql.ts";

/** A standby's first start copies the whole database; the wallet is megabytes to a few gigabytes. */
const DEADLINE_MS = 30 * 60_000;
/** After this long without a change of state it counts as stuck. */
const STUCK_MS = 180_000;
const RELOAD_MS = 30_000;
const POLL_MS = 250;
const PROGRESS_MS = 5000;

export const postgres: Stage<PostgresDocument, PostgresFacts, PostgresAction> = {
  items: postgresItems,
  readFacts: readPostgresFacts,
  plan: planPostgres,
  async apply(action, document, context) {
    switch (action.kind) {
      case "postgres/start":
        await must("systemctl", ["start", POSTGRES.unit]);
        return awaitMember(document, context);
      case "postgres/reload":
        await must("systemctl", ["reload", POSTGRES.unit]);
        return awaitCertificate();
      case "postgres/configure": {
        // What is null is taken out.
        const answer = await askPatroni("PATCH", "/config", { ...dynamicConfiguration(document), pause: null });
        if (answer?.status !== 200)
          throw new Error(`Patroni did not take the settings: ${JSON.stringify(answer?.value ?? "no answer")}`);
        // Begun by an operator: a restart ends lightningd's connection, and belongs to no `up`.
        context.progress(
          "the members take the new settings; what needs a restart of theirs waits for ./twofold restart",
        );
        return;
      }
      case "postgres/reset":
        await psql(loadTemplate("postgres-reset.sql"), { names: action.names.join(",") });
        return;
      case "postgres/roles":
        await psql(renderRoles(), { role: document.node.role, gate: document.node.gateRole });
        return;
    }
  },
};

/** A reload is a signal; what comes after it looks at what is shown. */
async function awaitCertificate(): Promise<void> {
  const deadline = Date.now() + RELOAD_MS;
  while ((await readOtherCertificate()).length > 0) {
    if (Date.now() > deadline)
      throw new Error(
        `Patroni or PostgreSQL still shows another certificate than ${tlsFiles("postgres").certificate}, ${RELOAD_MS / 1000} s after it was to read it\n` +
          "  to do: journalctl -u patroni says why",
      );
    await delay(POLL_MS);
  }
}

/** Waits until this host's member takes part. */
export async function awaitMember({ host }: PostgresDocument, context: ApplyContext): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  let saidAt = Date.now();
  let state = "";
  let changedAt = Date.now();
  for (;;) {
    const members = await readMembers();
    const own = members?.find(({ name }) => name === host);
    if (own !== undefined && takesPart(own)) {
      context.progress(`${host} is ${own.role}, ${own.state}`);
      return;
    }
    const now = own === undefined ? "not known to its cluster yet" : `${own.role}, ${own.state}`;
    if (now !== state) {
      state = now;
      changedAt = Date.now();
    }
    const copying = own?.state === "creating replica";
    if (Date.now() > deadline || (!copying && Date.now() - changedAt > STUCK_MS)) {
      const { stdout } = await run("journalctl", [
        ...["--unit", POSTGRES.unit, "--lines", "12", "--output", "cat", "--no-pager"],
      ]);
      throw new Error(
        `${host} does not take part in its cluster: it is ${state}; its last lines:\n  ${stdout.trim().replaceAll("\n", "\n  ")}\n` +
          "  to do: put right what they say, then run this again",
      );
    }
    if (Date.now() - saidAt > PROGRESS_MS) {
      saidAt = Date.now();
      context.progress(`waiting for ${host} to take part: ${state}`);
    }
    await delay(POLL_MS);
  }
}
