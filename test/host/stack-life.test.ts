/** How a stack begins on a host that has run a node before, and how it ends; on a lab of this run's own, with Pulumi and the verbs. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { parse, stringify } from "yaml";
import { eventually, Lab } from "../helpers/lab.ts";
import { outputOf, type Ran } from "../helpers/run-program.ts";

interface Resource {
  type: string;
  urn: string;
  deletedWith?: string;
  dependencies?: string[];
  propertyDependencies?: Record<string, string[]>;
}
interface Exported {
  deployment: { resources: Resource[] };
}

const DIRECTORY = "/srv/lightning/lightning";
const OLD = "/home/op/.lightning";
const CONFIG = "/etc/lightningd/lightningd.conf";
const LABELS = ["first", "second", "third"];

let lab: Lab;
let nodeId: string;

test.before("npm run lab", async () => {
  lab = await Lab.up({ name: "local-replica" });
});
test.after.always("npm run lab:down", async () => {
  await lab?.down();
});

const answers = async (seconds: number) =>
  (await eventually("lightningd answers getinfo", seconds, () => lab.rpc<{ id: string }>("alice", "getinfo"))).id;
const property = async (name: string) =>
  (await lab.exec("alice", "systemctl", "show", "--value", `--property=${name}`, "lightningd.service")).trim();
const drift = async () =>
  (await lab.report<{ hosts: { drift: { item: string }[] }[] }>("check")).hosts.flatMap((host) =>
    host.drift.map(({ item }) => item),
  );
const up = () => lab.tryUp();
const destroy = () => lab.pulumi(["destroy", "--yes", "--skip-preview", "--non-interactive"]);
const textOf = ({ stdout, stderr }: Ran) => stdout + stderr;

async function exported(): Promise<Exported> {
  return JSON.parse(outputOf(await lab.pulumi(["stack", "export"]))) as Exported;
}

async function importState(state: Exported): Promise<void> {
  const file = join(lab.facts.directory, "state.json");
  writeFileSync(file, JSON.stringify(state));
  outputOf(await lab.pulumi(["stack", "import", "--file", file]));
}

/** The state as a stack has it whose hosts are not its own: without the lab's containers. */
async function forgetMachines(): Promise<void> {
  const state = await exported();
  const machines = new Set(state.deployment.resources.filter(isMachine).map(({ urn }) => urn));
  const others = (urns: string[] = []) => urns.filter((urn) => !machines.has(urn));
  state.deployment.resources = state.deployment.resources
    .filter((resource) => !isMachine(resource))
    .map(({ deletedWith: _, ...resource }) => ({
      ...resource,
      dependencies: others(resource.dependencies),
      propertyDependencies: Object.fromEntries(
        Object.entries(resource.propertyDependencies ?? {}).map(([name, urns]) => [name, others(urns)]),
      ),
    }));
  await importState(state);
}
const isMachine = ({ type }: Resource) => type.startsWith("docker:") || type === "pulumi:providers:docker";
const isStage = ({ type }: Resource) => type.startsWith("command:");

/** The node's directory in the place and the journal mode in which one who knew nothing of twofold had it, and of twofold no trace. */
async function makeOldHost(): Promise<void> {
  await lab.exec(
    "alice",
    "sh",
    "-euc",
    `systemctl disable --quiet --now lightningd twofold-witness.timer twofold-alerts.timer
     runuser -u bitcoin -- sqlite3 ${DIRECTORY}/regtest/lightningd.sqlite3 'PRAGMA journal_mode = DELETE'
     mkdir -p /home/op
     cp -a ${DIRECTORY} ${OLD}
     chown -R 1234:1234 /home/op
     umount /srv/lightning /srv/replica
     wipefs --all --quiet /dev/disk/by-id/lab-alice-*
     sed -i '\\|/srv/|d' /etc/fstab
     rm -rf /srv/lightning /srv/replica /var/lib/twofold /etc/twofold /etc/lightningd /opt/twofold /usr/local/lib/twofold
     rm -rf /etc/cron.d/twofold /etc/systemd/system/lightningd.service* /etc/systemd/system/twofold-*
     systemctl daemon-reload`,
  );
  const state = await exported();
  state.deployment.resources = state.deployment.resources.filter((resource) => !isStage(resource));
  await importState(state);
}

test.serial(
  "a node that was there before is taken over as README says, with its identity and all invoices",
  async (t) => {
    nodeId = await answers(60);
    for (const label of LABELS) await lab.invoice("alice", label);
    await makeOldHost();
    const document = parse(readFileSync(lab.facts.configFile, "utf8"));
    document.config["twofold:node"].takeOver = OLD;
    writeFileSync(lab.facts.configFile, stringify(document));

    await lab.exec("alice", "sh", "-euc", `mkdir /etc/lightningd; echo alias=old > ${CONFIG}`);
    const inTheWay = await up();
    t.not(inTheWay.status, 0);
    t.regex(textOf(inTheWay), /HOST-IN-THE-WAY[\s\S]*received: \/etc\/lightningd\/lightningd\.conf/);
    t.is((await lab.tryExec("alice", "grep", "/srv/lightning", "/etc/fstab")).status, 1, "no volume was made");
    await lab.exec("alice", "mv", CONFIG, `${CONFIG}.before-twofold`);

    t.regex(outputOf(await up()), /lightningd is not started: .*witness rebuild .*resync replica .*repair/);
    t.is(await property("ActiveState"), "inactive");
    t.deepEqual(await drift(), []);
    const init = await lab.verb("init");
    t.not(init.status, 0);
    t.regex(textOf(init), /INIT-NODE-EXISTS[\s\S]*witness rebuild --reason/);

    const rebuild = (...words: string[]) => lab.verb("witness", "rebuild", "--reason", "taken over from op", ...words);
    const named = /REBUILD-REPLICA-MISSING[\s\S]*--lower-to (\d+)/.exec(textOf(await rebuild()))?.[1];
    t.truthy(named, "the replica that was declared is still empty");
    outputOf(await rebuild("--lower-to", named ?? ""));
    outputOf(await lab.verb("resync", "replica", "--reason", "taken over from op"));
    outputOf(await lab.verb("repair", "--yes"));
    t.is(await answers(60), nodeId);
    t.deepEqual(await lab.labels("alice"), LABELS);
    t.is((await lab.exec("alice", "readlink", OLD)).trim(), DIRECTORY);
    t.is((await lab.exec("alice", "cat", `${CONFIG}.before-twofold`)).trim(), "alias=old");
    t.deepEqual(await drift(), []);
    t.regex(outputOf(await up()), /^Resources:\n\s+\d+ unchanged\n\n/m);
  },
);

test.serial(
  "destroy stops the node for good, over a reboot too, leaves wallet and volumes, and up brings it back",
  async (t) => {
    const whole = await exported();
    await forgetMachines();
    const output = outputOf(await destroy());
    t.regex(output, /lightningd is stopped/);
    t.deepEqual((await exported()).deployment.resources?.filter(isStage) ?? [], []);
    t.is(await property("ActiveState"), "inactive");

    outputOf(await lab.docker("restart", lab.container("alice")));
    await eventually("the host is up", 90, async () =>
      /^(running|degraded)/.test((await lab.tryExec("alice", "systemctl", "is-system-running")).stdout),
    );
    t.is(await property("UnitFileState"), "disabled");
    t.is(await property("ActiveState"), "inactive");
    t.is(await property("ExecMainStartTimestampMonotonic"), "0", "it was not started in between either");
    for (const mount of ["/srv/lightning", "/srv/replica"])
      t.regex(await lab.exec("alice", "findmnt", "--noheadings", mount), /btrfs/);

    whole.deployment.resources = whole.deployment.resources.filter((resource) => !isStage(resource));
    await importState(whole);
    outputOf(await up());
    t.is(await answers(60), nodeId);
    t.deepEqual(await lab.labels("alice"), LABELS);
    t.deepEqual(await drift(), []);
  },
);

test.serial("destroy fails while the node's host is dead, and goes on as README says", async (t) => {
  const whole = await exported();
  await forgetMachines();
  outputOf(await lab.docker("stop", lab.container("alice")));
  const failed = await destroy();
  t.not(failed.status, 0);
  t.regex(textOf(failed), /alice-lightningd-apply/);
  t.regex(textOf(failed), /after \d+ failed attempts/);
  const left = (await exported()).deployment.resources.filter(isStage).map(({ urn }) => urn);
  const node = left.find((urn) => urn.endsWith("::alice-lightningd-apply"));
  t.truthy(node, "what could not be stopped is still in the state");
  outputOf(await lab.pulumi(["state", "delete", node ?? "", "--yes"]));
  outputOf(await destroy());
  t.deepEqual((await exported()).deployment.resources?.filter(isStage) ?? [], []);

  // Nobody could tell that host: it starts the node when it comes back, with nothing lost.
  outputOf(await lab.docker("start", lab.container("alice")));
  t.is(await answers(90), nodeId);
  t.deepEqual(await lab.labels("alice"), LABELS);
  await importState(whole);
});
