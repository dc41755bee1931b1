/** Alerts on a lab of two hosts: each thing that can go wrong there is made to, is told, and is over when it is mended. */
import { readFileSync, writeFileSync } from "node:fs";
import test from "ava";
import { parse, stringify } from "yaml";
import type { AlertCode } from "../../scripts/host/alerts/alert.ts";
import { ALERTS, LIGHTNINGD } from "../../scripts/host/contract.ts";
import { ageAlerts, alertsOf, awaitAlert, awaitNoAlert, lookNow } from "../faults/alerts.ts";
import { meetsErrors, pullDisk, returnDisk, scrubErrors, scrubVolume } from "../faults/disks.ts";
import { gateDecides, nodeAnswers } from "../faults/gate.ts";
import { Machine, topologyOf } from "../faults/machine.ts";
import { eventually, Lab } from "../helpers/lab.ts";

const COMMAND = "/usr/local/bin/tell";
/** An operator's command, as short as it may be: who, the one line, the text. */
const TELL = `#!/bin/sh
{ echo "as $(id -un): $TWOFOLD_SUMMARY"; cat; } | systemd-cat --identifier=told
`;
const MAIN = "/srv/lightning/lightning/regtest/lightningd.sqlite3";
const SECONDS = 90;
const ANSWER_SECONDS = 90;

let lab: Lab;
let alice: Machine;
let vault: Machine;

test.before("a lab with two copies", async () => {
  lab = await Lab.up({ log: () => {} });
  const topology = topologyOf(lab);
  alice = new Machine(lab, topology, "alice");
  vault = new Machine(lab, topology, "vault");
});
test.after.always(async () => {
  await lab?.down();
});

const answers = () => nodeAnswers(alice, topologyOf(lab), ANSWER_SECONDS);
const putCommand = (host: Machine, text: string) =>
  host.exec("sh", "-euc", 'printf "%s" "$1" > "$2"; chmod 0755 "$2"', "sh", text, COMMAND);
/** Lines of a host's journal, oldest first. */
async function journal(host: Machine, identifier: string, ...words: string[]): Promise<string[]> {
  await host.exec("journalctl", "--sync");
  const ran = await lab.tryExec(
    host.name,
    ...["journalctl", "--identifier", identifier, "--output=cat", "--no-pager", "--quiet", ...words],
  );
  return ran.stdout.split("\n").filter((line) => line !== "");
}
/** Leaves a twentieth of the room that there is, so that nothing fails for lack of it. */
async function fillMost(host: Machine, mount: string): Promise<void> {
  const free = Number((await host.exec("df", "--output=avail", "--block-size=1", mount)).split("\n")[1]);
  await host.exec("fallocate", "--length", `${Math.floor(free * 0.95)}`, `${mount}/filler`);
}
const told = async (host: Machine, code: AlertCode) =>
  (await journal(host, "told")).filter((line) => line.startsWith(`${code} `));

/** The lab's config with alerts as given. */
function declare(alerts: Record<string, unknown>): void {
  const document = parse(readFileSync(lab.facts.configFile, "utf8"));
  document.config["twofold:alerts"] = alerts;
  writeFileSync(lab.facts.configFile, stringify(document));
}

test.serial("the hosts look at themselves once a minute, and find nothing wrong with a node that runs", async (t) => {
  await answers();
  await eventually("both hosts have looked by themselves", 100, async () => {
    const { stdout } = await lab.verb("alerts");
    return stdout.split("alerts: none,").length === 3;
  });
  const ran = await lab.verb("alerts");
  t.is(ran.status, 0, ran.stdout + ran.stderr);
  t.deepEqual(await journal(alice, "twofold-alerts"), []);
  t.is((await lab.tryExec("alice", "test", "-e", ALERTS.state)).status, 1, "a healthy host writes no state");
});

test.serial(
  "refuses an alert command that is not on the host, and calls one that is as an account that owns nothing",
  async (t) => {
    declare({ command: COMMAND, repeat: "1m" });
    const refused = await lab.tryUp();
    t.not(refused.status, 0);
    t.regex(refused.stdout + refused.stderr, /ALERT-COMMAND: [\s\S]*\/usr\/local\/bin\/tell: there is nothing/);
    for (const host of [alice, vault]) await putCommand(host, TELL);
    await lab.up();
    const tested = await lab.verb("alerts", "test");
    t.is(tested.status, 0, tested.stdout + tested.stderr);
    for (const host of [alice, vault]) {
      const lines = await eventually("the test has arrived", 10, async () => {
        const found = await journal(host, "told");
        return found.length > 1 && found;
      });
      t.is(lines[0], `as ${ALERTS.account}: ${host.name}: TEST`);
      t.regex(lines.join("\n"), /^TEST on \w+: a test: nothing is wrong$/m);
    }
    t.is((await lab.verb("check")).status, 0);
  },
);

test.serial("a disk that dies is told at once and again, and is over when it is back and scrubbed", async (t) => {
  const disk = alice.disk("b");
  await pullDisk(disk);
  try {
    await lab.invoice("alice", "while-a-disk-is-gone");
    await meetsErrors(alice, "/srv/lightning", disk);
    const alert = await awaitAlert(alice, "DEVICE_ERRORS", SECONDS);
    t.regex(alert.subject, /^device 2 of volume lightning/);
    t.true(
      (await journal(alice, "twofold-alerts", "--priority=warning")).some((line) =>
        /^DEVICE_ERRORS on alice: .*; to do: /.test(line),
      ),
    );
    t.regex((await told(alice, "DEVICE_ERRORS"))[0] ?? "", /^DEVICE_ERRORS on alice: device 2/);
    const status = await lab.verb("status");
    t.regex(status.stdout, /ALERT DEVICE_ERRORS \(warning\), since 2\d{3}-/);
    t.is((await lab.verb("alerts")).status, 2);
    await eventually("it is told again, by the host's own timer", 150, async () =>
      (await told(alice, "DEVICE_ERRORS")).some((line) => /^DEVICE_ERRORS on alice still, since /.test(line)),
    );
  } finally {
    await returnDisk(disk);
    await scrubVolume(alice, "/srv/lightning");
  }
  await awaitNoAlert(alice, "DEVICE_ERRORS", SECONDS);
  t.regex((await told(alice, "DEVICE_ERRORS")).at(-1) ?? "", /DEVICE_ERRORS on alice is over/);
  const { value } = await awaitAlert(alice, "SCRUB_MENDED", SECONDS);
  t.regex(value, /found .*=[1-9]/);
  // A scrub of a disk that missed writes may leave some to the next one.
  await eventually("a scrub finds nothing to mend", SECONDS, async () => {
    await scrubVolume(alice, "/srv/lightning");
    return (await scrubErrors(alice, "/srv/lightning", disk)) === 0;
  });
  await awaitNoAlert(alice, "SCRUB_MENDED", SECONDS);
});

test.serial("a volume that is nearly full is told on its own host, and is over when there is room", async (t) => {
  await fillMost(vault, "/srv/replica");
  const alert = await awaitAlert(vault, "DISK_NEARLY_FULL", SECONDS);
  t.is(alert.subject, "/srv/replica");
  await vault.exec("rm", "/srv/replica/filler");
  await awaitNoAlert(vault, "DISK_NEARLY_FULL", SECONDS);
});

test.serial(
  "a node that its gate refused is told with the gate's code and fix, and is over when it answers",
  async (t) => {
    await alice.exec("systemctl", "stop", LIGHTNINGD.unit);
    await lookNow(alice);
    t.deepEqual(await alertsOf(alice), [], "somebody who has just stopped it knows");
    await ageAlerts(alice, 15);
    await awaitAlert(alice, "NODE_STOPPED", SECONDS);
    await alice.exec("mv", MAIN, `${MAIN}.away`);
    const since = Date.now();
    await alice.exec("systemctl", "start", "--no-block", LIGHTNINGD.unit);
    const { code } = await gateDecides(alice, since, SECONDS);
    const alert = await awaitAlert(alice, "NODE_FAILED", SECONDS);
    t.true(alert.value.includes(`the gate refused with ${code}`), alert.value);
    t.regex(alert.fix ?? "", /restore replica/);
    await alice.exec("mv", `${MAIN}.away`, MAIN);
    await alice.exec("systemctl", "reset-failed", LIGHTNINGD.unit);
    await alice.exec("systemctl", "start", "--no-block", LIGHTNINGD.unit);
    await answers();
    await awaitNoAlert(alice, "NODE_FAILED", SECONDS);
    t.deepEqual(await alertsOf(alice), []);
  },
);

test.serial("an alert command that fails is shown, and is told what it missed when it works again", async (t) => {
  await putCommand(vault, "#!/bin/sh\necho no route to the mail server >&2\nexit 7\n");
  await fillMost(vault, "/srv/replica");
  await awaitAlert(vault, "DISK_NEARLY_FULL", SECONDS);
  const alert = await awaitAlert(vault, "ALERT_COMMAND", SECONDS);
  t.regex(alert.value, /status 7: no route to the mail server/);
  t.regex((await lab.verb("status")).stdout, /THE ALERT COMMAND FAILS since .* \d+ events untold: .*status 7/);
  t.is((await lab.verb("alerts", "test")).status, 1);
  await vault.exec("rm", "/srv/replica/filler");
  await awaitNoAlert(vault, "DISK_NEARLY_FULL", SECONDS);
  const before = (await told(vault, "DISK_NEARLY_FULL")).length;
  await putCommand(vault, TELL);
  await awaitNoAlert(vault, "ALERT_COMMAND", SECONDS);
  const missed = (await told(vault, "DISK_NEARLY_FULL")).slice(before);
  t.regex(missed[0] ?? "", /^DISK_NEARLY_FULL on vault: /);
  t.regex(missed.at(-1) ?? "", /is over/);
});

test.serial("an alert command that hangs is ended with all that it started", async (t) => {
  await putCommand(vault, "#!/bin/sh\nsleep 4321 & sleep 4321\n");
  const began = Date.now();
  const ran = await lab.verb("alerts", "test");
  t.is(ran.status, 1);
  t.regex(ran.stdout, /vault: FAILED: .*ended after 30 s/);
  t.true(Date.now() - began >= 30_000);
  const left = await lab.tryExec("vault", "pgrep", "--full", "^sleep 4321$");
  t.is(left.status, 1, left.stdout);
  await putCommand(vault, TELL);
});
