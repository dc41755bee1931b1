/**
 * `npm run prove -- degraded`: the replica's host is gone, the node goes on without it for three minutes, and is held to their end; each step is
 * told by the node's own host, again and again while it lasts.
 */
import test from "ava";
import { LIGHTNINGD, NODE_STATE } from "../../scripts/host/contract.ts";
import { ageAlerts, alertsOf, awaitAlert, awaitNoAlert } from "../faults/alerts.ts";
import { gateDecides, gateSays, nodeAnswers } from "../faults/gate.ts";
import { Machine, topologyOf } from "../faults/machine.ts";
import { killHost, powerOn } from "../faults/power.ts";
import { eventually, Lab } from "../helpers/lab.ts";
import { outputOf } from "../helpers/run-program.ts";

const SECONDS = 90;
const TIME = { words: "3m", seconds: 180 };

let lab: Lab;
let alice: Machine;
let vault: Machine;

test.before("a lab with two copies, whose alerts repeat every minute", async () => {
  lab = await Lab.up({ log: () => {} });
  const topology = topologyOf(lab);
  alice = new Machine(lab, topology, "alice");
  vault = new Machine(lab, topology, "vault");
  await repeatEachMinute();
});
test.after.always(async () => {
  await lab?.down();
});

/** As `twofold:alerts: { repeat: 1m }` would have it. */
const repeatEachMinute = () =>
  alice.exec("sed", "--in-place", 's/"repeatMinutes": 60/"repeatMinutes": 1/', "/etc/twofold/alerts.json");
const answers = () => nodeAnswers(alice, topologyOf(lab), SECONDS);
const restart = async () => {
  const since = Date.now();
  await alice.exec("systemctl", "restart", "--no-block", LIGHTNINGD.unit);
  return since;
};
async function journal(...words: string[]): Promise<string[]> {
  await alice.exec("journalctl", "--sync");
  const ran = await lab.tryExec(
    "alice",
    ...["journalctl", "--identifier=twofold-alerts", "--output=cat", "--no-pager", "--quiet", ...words],
  );
  return ran.stdout.split("\n");
}

test.serial("a replica whose host is gone is told, and a witness that is silent for long", async (t) => {
  await answers();
  await killHost(vault);
  t.regex((await awaitAlert(alice, "REPLICA_NOT_MOUNTED", SECONDS)).subject, /the replica on vault$/);
  await ageAlerts(alice, 15);
  t.is((await awaitAlert(alice, "WITNESS_UNREACHABLE", SECONDS)).subject, "the witness on vault");
});

test.serial("degraded mode is told again while it lasts, before its end, and louder after it", async (t) => {
  const words = ["degrade", "replica", "--for", TIME.words, "--reason", "vault is off for a test"];
  outputOf(await lab.verb(...words));
  t.like(await gateDecides(alice, await restart(), SECONDS), { verdict: "start", code: "DEGRADED" });
  await answers();
  t.regex((await awaitAlert(alice, "DEGRADED", SECONDS)).value, /until 2\d{3}-.*: vault is off for a test/);
  const { until } = JSON.parse(await alice.exec("cat", NODE_STATE.degraded)) as { until: string };
  await eventually("it is told again, by the host's own timer", TIME.seconds, async () =>
    (await journal()).some((line) => /^DEGRADED on alice still, since /.test(line)),
  );
  t.true(Date.now() < Date.parse(until), "before its end");
  await awaitAlert(alice, "DEGRADED_OVER", TIME.seconds + SECONDS);
  t.true(Date.now() >= Date.parse(until), "and not before");
  t.true((await journal("--priority=crit")).some((line) => line.startsWith("DEGRADED_OVER on alice: ")));
  await answers();
});

test.serial(
  "a start after its end waits for the replica, is told, and all is over when the replica is back",
  async (t) => {
    t.like(await gateSays(alice, await restart(), SECONDS), { verdict: "wait" });
    await ageAlerts(alice, 3);
    t.regex((await awaitAlert(alice, "NODE_WAITING", SECONDS)).value, /^the gate waits with [A-Z_]+: /);
    await powerOn([vault]);
    await awaitNoAlert(alice, "REPLICA_NOT_MOUNTED", SECONDS);
    outputOf(await lab.verb("degrade", "end"));
    await answers();
    await eventually("nothing is wrong any more", SECONDS, async () => {
      await awaitNoAlert(alice, "DEGRADED_OVER", SECONDS);
      return (await alertsOf(alice)).length === 0;
    });
    t.pass();
  },
);
