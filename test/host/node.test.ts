/** The first node, end to end: what a user gets from `npm run lab`, on a lab of this run's own. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { parse, stringify } from "yaml";
import { documentsOf } from "../../components/topology/documents.ts";
import { parseTopology } from "../../components/topology/parse.ts";
import { readStackConfig } from "../../components/topology/stack-config.ts";
import { stageOf } from "../../scripts/host/stages.ts";
import { chooseSeed, Random } from "../faults/seed.ts";
import { eventually, Lab } from "../helpers/lab.ts";
import { pauseContainer, resumeContainer } from "../helpers/pause.ts";
import { outputOf, runProgram } from "../helpers/run-program.ts";
import { tampering } from "../helpers/tamper.ts";

interface Check {
  hosts: { host: string; error?: string; drift: { item: string; summary: string }[] }[];
}

interface Repair {
  hosts: { host: string; changed: string[] }[];
}

/** What these tests change in a lab's config. */
interface LabConfig {
  "twofold:hosts": { alice: { identityFile: string } };
  "twofold:node": { options: Record<string, string> };
  "twofold:maintenance"?: { scrub: string };
}

let lab: Lab;

test.before("npm run lab", async () => {
  lab = await Lab.up({ name: "one-host" });
});
test.after.always("npm run lab:down", async () => {
  await lab?.down();
});

const drift = async () =>
  (await lab.report<Check>("check")).hosts.flatMap((host) => host.drift.map(({ item }) => item));

const answers = (seconds: number) =>
  eventually("lightningd answers getinfo", seconds, () => lab.rpc<{ id: string }>("alice", "getinfo"));

/** The clock is the machine's own, and no host may set it (README, "What was not tested"). */
const NOT_SPOILED = ["clock:synchronised"];

/** Inode, mtime, mode and owner of every file that twofold could have touched, units' starts, and packages, a line each. */
async function fingerprint(): Promise<string[]> {
  const files = await lab.exec(
    "alice",
    "sh",
    "-euc",
    // The wallet itself, logs and caches live; everything else stands still.
    `find /etc /usr/local /opt /srv /var/lib/twofold /root /home /var/spool/cron -xdev \\
       \\( -name 'lightningd.sqlite3*' -o -name '*.log' -o -path /var/lib/twofold/witness/alice/mark.json -o -path /var/lib/twofold/alerts/state.json \\) -prune -o -type f -printf '%p %i %T@ %m %u:%g\\n' -o -type l -printf '%p %i %l\\n' | sort
     find /srv/lightning -type f ! -name '*.sqlite3*' -printf '%p %i %m %u:%g\\n' | sort`,
  );
  const units = await lab.exec(
    "alice",
    "systemctl",
    "show",
    "lightningd.service",
    "cron.service",
    "srv-lightning.mount",
    "--property=Id,ActiveEnterTimestampMonotonic,ExecMainStartTimestampMonotonic,NRestarts",
  );
  const packages = await lab.exec("alice", "dpkg-query", "--show");
  return `${files}\n${units}\n${packages}`.split("\n");
}

/** Lines that are in one of the two and not in the other. */
function differences(before: string[], after: string[]): string[] {
  const were = new Set(before);
  const are = new Set(after);
  return [...before.filter((line) => !are.has(line)), ...after.filter((line) => !were.has(line))];
}

/** The lab's config with a change, in a file beside it. */
function changedConfig(name: string, change: (config: LabConfig) => void): string {
  const document = parse(readFileSync(lab.facts.configFile, "utf8"));
  change(document.config);
  const file = join(lab.facts.directory, `${name}.yaml`);
  writeFileSync(file, stringify(document));
  return file;
}

test.serial("a node comes up on RAID-1 and makes invoices", async (t) => {
  const { id } = await answers(60);
  t.regex(id, /^0[23][0-9a-f]{64}$/);
  await lab.invoice("alice", "first");
  await lab.invoice("alice", "second");
  t.deepEqual(await lab.labels("alice"), ["first", "second"]);
  const usage = await lab.exec("alice", "btrfs", "filesystem", "usage", "/srv/lightning");
  t.regex(usage, /Data,RAID1:/);
  t.regex(usage, /Metadata,RAID1:/);
  const header = await lab.exec(
    "alice",
    "od",
    "-An",
    "-tu1",
    "-j18",
    "-N2",
    "/srv/lightning/lightning/regtest/lightningd.sqlite3",
  );
  t.is(
    header.trim().replace(/\s+/, " "),
    "2 2",
    "the file's header says WAL (sqlite.org/fileformat.html, offsets 18 and 19)",
  );
});

test.serial("check finds nothing to say about a host that was just provisioned", async (t) => {
  const ran = await lab.verb("check");
  t.is(ran.status, 0, ran.stdout + ran.stderr);
  t.deepEqual(await drift(), []);
});

test.serial("a second up with all hosts paused succeeds, so it opens no connection", async (t) => {
  await pauseContainer(lab.container("alice"));
  try {
    const output = await lab.up();
    // The only line of the summary: nothing was created, updated or replaced.
    t.regex(output, /^Resources:\n\s+\d+ unchanged\n\n/m);
  } finally {
    await resumeContainer(lab.container("alice"));
  }
});

test.serial("a new SSH key runs every stage again, and no inode, mtime or unit start time changes", async (t) => {
  const key = join(lab.facts.directory, "another_ed25519");
  outputOf(await runProgram("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "twofold-lab", "-f", key]));
  await lab.exec(
    "alice",
    "sh",
    "-euc",
    'printf "%s\\n" "$1" >> /root/.ssh/authorized_keys',
    "sh",
    readFileSync(`${key}.pub`, "utf8").trim(),
  );
  const before = await fingerprint();
  t.true(before.length > 500, "the host's files are read");
  const configFile = changedConfig("another-key", (config) => {
    config["twofold:hosts"].alice.identityFile = key;
  });
  const ran = await lab.tryUp({ configFile });
  const output = outputOf(ran);
  t.regex(output, /updated/, "the stages ran");
  t.deepEqual(differences(before, await fingerprint()), []);
  await lab.up();
  t.deepEqual(differences(before, await fingerprint()), []);
});

test.serial("preview --diff shows a changed option and schedule as a structural diff", async (t) => {
  const configFile = changedConfig("changed", (config) => {
    config["twofold:node"].options.alias = "carol";
    config["twofold:maintenance"] = { scrub: "5 4 * * 0" };
  });
  const output = outputOf(await lab.pulumi(["preview", "--diff", "--non-interactive"], { configFile }));
  t.regex(output, /~ alias\s*: "alice" => "carol"/);
  t.regex(output, /~ scrub\s*: "0 0 \* \* 0" => "5 4 \* \* 0"/);
  t.notRegex(output, /replace|-----BEGIN/);
});

test.serial(
  "every managed item that is tampered with is named by check, alone, and put back by repair, alone",
  async (t) => {
    const { stack, config } = readStackConfig(lab.facts.configFile);
    const parsed = parseTopology(config, stack);
    if (!parsed.ok) return t.fail("the lab's config is refused");
    const documents = documentsOf(parsed.topology).get("alice") ?? [];
    const items = documents.flatMap((document) => stageOf(document.stage).items(document as never));
    t.true(items.length > 30, `${items.length} items`);
    const wrong: string[] = [];
    for (const item of items) {
      if (NOT_SPOILED.includes(item)) continue;
      const { spoil, withIt, repairs } = tampering(lab, "alice", item);
      try {
        await spoil();
      } catch (error) {
        // What was left by an item before makes it fail, so that comes first.
        t.deepEqual([...wrong, String(error)], [], item);
      }
      const found = await drift();
      const named = differences([item, ...withIt], found);
      if (named.length > 0) wrong.push(`${item}: check differs by ${named.join(", ")}`);
      const repaired = await lab.verb("repair", "--yes", "--json");
      if (repaired.status !== 0) wrong.push(`${item}: repair fails: ${repaired.stdout}${repaired.stderr}`);
      const { hosts } = JSON.parse(repaired.stdout) as Repair;
      const put = differences(
        [item, ...repairs],
        hosts.flatMap(({ changed }) => changed),
      );
      if (put.length > 0) wrong.push(`${item}: repair differs by ${put.join(", ")}`);
      const left = await drift();
      if (left.length > 0) wrong.push(`${item}: repair leaves ${left.join(", ")}`);
    }
    t.deepEqual(wrong, []);
    await answers(60);
    t.deepEqual(await lab.labels("alice"), ["first", "second"]);
  },
);

test.serial("a host that is rebooted has its mounts and its node back", async (t) => {
  const before = await answers(10);
  outputOf(await lab.docker("restart", lab.container("alice")));
  t.is((await answers(90)).id, before.id);
  t.regex(await lab.exec("alice", "findmnt", "--noheadings", "/srv/lightning"), /btrfs/);
  t.deepEqual(await lab.labels("alice"), ["first", "second"]);
  await eventually("check is content", 30, async () => (await drift()).length === 0);
  t.pass();
});

test.serial("an up that is killed at ten random points is finished by the next, each time", async (t) => {
  const seed = chooseSeed();
  const random = new Random(seed);
  const seconds = (since: number) => (Date.now() - since) / 1000;
  let took = 0;
  let landed = 0;
  // The first one is left alone: its time is what the moments of the others are chosen from.
  for (let round = 0; round <= 10; round++) {
    const document = parse(readFileSync(lab.facts.configFile, "utf8"));
    document.config["twofold:node"].options.alias = `alice-${round}`;
    document.config["twofold:maintenance"] = { scrub: `${round} 0 * * 0` };
    writeFileSync(lab.facts.configFile, stringify(document));
    let killed = "not killed";
    if (round > 0) {
      const milliseconds = random.between(100, 900) * took;
      const began = Date.now();
      const { landed: hit, point } = await lab.killedUp(new Promise((resolve) => setTimeout(resolve, milliseconds)));
      if (hit) landed += 1;
      // This machine may have got faster meanwhile.
      else took = seconds(began);
      killed = `${hit ? "killed" : "ended before it was killed"} after ${Math.round(milliseconds)} ms, at: ${point}`;
      t.log(`${round} of 10, seed ${seed}: ${killed}`);
      outputOf(await lab.pulumi(["cancel", "--yes"]));
    }
    const began = Date.now();
    await lab.up();
    if (round === 0) took = seconds(began);
    t.deepEqual(await drift(), [], killed);
    const info = await eventually("the node has its new alias", 30, async () => {
      const found = await lab.rpc<{ id: string; alias: string }>("alice", "getinfo");
      return found.alias === `alice-${round}` && found;
    });
    t.regex(info.id, /^0[23]/);
  }
  t.true(landed >= 7, `${landed} of 10 kills hit a living up, seed ${seed}`);
  t.deepEqual(await lab.labels("alice"), ["first", "second"]);
});

test.serial("Pulumi's state is lost: the next up changes nothing on the host [survival:lost-state]", async (t) => {
  const before = await fingerprint();
  // The container is a resource of the lab's state, so the stages alone are forgotten, as an operator's state would be.
  const exported = JSON.parse(outputOf(await lab.pulumi(["stack", "export"]))) as {
    deployment: { resources: { type: string; urn: string }[] };
  };
  const stages = exported.deployment.resources.filter(({ type }) => type.startsWith("command:"));
  t.true(stages.length >= 6);
  exported.deployment.resources = exported.deployment.resources.filter(({ type }) => !type.startsWith("command:"));
  const file = join(lab.facts.directory, "state.json");
  writeFileSync(file, JSON.stringify(exported));
  outputOf(await lab.pulumi(["stack", "import", "--file", file]));
  t.regex(await lab.up(), /created/);
  // What the provider has no record of it copies again: the same bytes into the same files.
  const copies = /^\/usr\/local\/lib\/twofold\/(host|lightningd)-[0-9a-f]{64}\./;
  t.deepEqual(
    differences(before, await fingerprint()).filter((line) => !copies.test(line)),
    [],
  );
});
