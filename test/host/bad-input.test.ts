/**
 * What an operator can get wrong, through the real `pulumi up` on one provisioned host: each is told clearly, and leaves the host's
 * configuration, units, packages and data as they were. What must not be formatted is in storage.test.ts, where disks may be spoiled;
 * every rule of the topology in unit/rules.test.ts.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import fc from "fast-check";
import { parse, stringify } from "yaml";
import { scheduleProblem } from "../../components/topology/cron-schedule.ts";
import { EXIT } from "../../scripts/host/contract.ts";
import { eventually, Lab } from "../helpers/lab.ts";
import { outputOf, type Ran, runProgram } from "../helpers/run-program.ts";

/** What these tests change in a lab's config. */
interface LabConfig {
  "twofold:hosts": { alice: { address: string; port: number; hostKey: string; user?: string } };
  "twofold:node": {
    lightningd: Record<string, string>;
    options: Record<string, unknown>;
    volume: { devices: string | string[] } & Record<string, unknown>;
  } & Record<string, unknown>;
}

const DISK_A = "/dev/disk/by-id/lab-alice-a";
const LIGHTNINGD_CONF = "/etc/lightningd/lightningd.conf";
const INVOICES = ["first", "second"];

let lab: Lab;

test.before("npm run lab", async () => {
  lab = await Lab.up({ name: "one-host" });
  mkdirSync(join(lab.facts.directory, "changed"));
  for (const label of INVOICES) await lab.invoice("alice", label);
});
test.after.always("npm run lab:down", async () => {
  await lab?.down();
});

/** One line a file, package and unit of the host: any change of one is a change of its line. */
async function fingerprint(): Promise<string[]> {
  const files = await lab.exec(
    "alice",
    "sh",
    "-euc",
    // ctime can't be set back. Docker keeps three files, and the witness goes on. What the provider copies beside the host program it may
    // copy again: that is known by its content. A running lightningd commits by itself now and then, into the log of its wallet.
    `find /etc /usr/local /opt /root /var/lib/twofold /var/spool/cron -xdev \\
       \\( -path /etc/hosts -o -path /etc/hostname -o -path /etc/resolv.conf -o -path /usr/local/etc/lab-keys \\
          -o -name mark.json \\) -prune \\
       -o -path '/usr/local/lib/twofold/*' \\( -name '*.archive' -o -name '*.asc' \\) -printf '%p %m %u:%g ' -exec sha256sum {} \\; \\
       -o ! -type d -printf '%p %i %C@ %m %u:%g %l\\n' -o -type d -printf '%p %m %u:%g\\n'
     find /srv/lightning -type f ! -name '*-shm' ! -name '*-wal' ! -name '*.log' -exec sha256sum {} +`,
  );
  const units = await lab.exec(
    "alice",
    "systemctl",
    "show",
    ...["lightningd.service", "cron.service", "twofold-witness.timer", "srv-lightning.mount"],
    "--property=Id,UnitFileState,ActiveState,ActiveEnterTimestampMonotonic,NRestarts",
  );
  const packages = await lab.exec("alice", "dpkg-query", "--show");
  return `${files}\n${units}\n${packages}`.split("\n").sort();
}

/** Lines that came, went or changed between two fingerprints, but for files that are said to have come. */
function changes(before: string[], after: string[], come: readonly string[] = []): string[] {
  const [was, is] = [new Set(before), new Set(after)];
  const expected = come.map((path) => after.find((line) => line.startsWith(`${path} `)) ?? `${path} has not come`);
  return [
    ...before.filter((line) => !is.has(line)),
    ...after.filter((line) => !was.has(line) && !expected.includes(line)),
    ...expected.filter((line) => was.has(line) || !is.has(line)),
  ];
}

/** The lab's config with a change, in a file that `pulumi` and `./twofold` take by --config-file. */
function changedConfig(change: (config: LabConfig) => void): string {
  const document = parse(readFileSync(lab.facts.configFile, "utf8"));
  change(document.config);
  return configText(stringify(document));
}

function configText(text: string): string {
  const file = join(lab.facts.directory, "changed", `Pulumi.${lab.stack}.yaml`);
  writeFileSync(file, text);
  return file;
}

const up = (configFile: string): Promise<Ran> =>
  lab.pulumi(["up", "--yes", "--skip-preview", "--non-interactive", "--suppress-outputs"], { configFile });
const check = (configFile: string): Promise<Ran> =>
  runProgram(join(import.meta.dirname, "../../twofold"), ["check", "--config-file", configFile], {
    env: lab.facts.env,
  });

interface Case {
  title: string;
  change(config: LabConfig): void;
  /** What `pulumi up` has to say. */
  says: RegExp;
  /** What `./twofold check` has to say, where it meets the same, and its exit status. */
  checkSays?: RegExp;
  checkStatus?: number;
  /** Makes the host what the case needs; the case begins after it. */
  prepare?: string;
  undo?: string;
  /** Files that come although it is refused, and are no part of the configuration. */
  leaves?: string[];
}

/** Runs a script on the host, in which $1 is lightningd's config file. */
const onHost = (script: string) => lab.exec("alice", "sh", "-euc", script, "sh", LIGHTNINGD_CONF);

/** A wrong value, a wrong type and an unknown key, each with its place. */
const SLIPS =
  /twofold:node\.volume\.profile: [\s\S]*twofold:node\.volume\.devices: [\s\S]*CONFIG_UNKNOWN_KEY: twofold:node\.volme: [\s\S]*to do: write 'volume'/;

const CASES: Case[] = [
  {
    title: "refuses a host whose key is not the pinned one",
    change: ({ "twofold:hosts": { alice } }) => {
      alice.hostKey = readFileSync(join(lab.facts.directory, "operator_ed25519.pub"), "utf8").split(" ", 2).join(" ");
    },
    says: /host key mismatch/,
    checkSays: /ssh\/host-key: the machine at root@127\.0\.0\.1, port \d+ is not the one that was pinned as host alice/,
  },
  {
    title: "fails when nothing answers at the host's address",
    change: ({ "twofold:hosts": { alice } }) => {
      alice.port = 1;
    },
    says: /after \d+ failed attempts: .*connect(ion)?.*refused/i,
    checkSays: /ssh\/unreachable: host alice can't be reached \(root@127\.0\.0\.1, port 1\)[\s\S]*to do: /,
  },
  {
    title: "refuses to work on a host as another account than root",
    prepare: `useradd --create-home carol
      install -d -o carol -g carol -m 0700 /home/carol/.ssh
      install -o carol -g carol -m 0600 /root/.ssh/authorized_keys /home/carol/.ssh/authorized_keys`,
    change: ({ "twofold:hosts": { alice } }) => {
      alice.user = "carol";
    },
    says: /this needs root\n\s+received: uid 1\d\d\d\n\s+why: [\s\S]*to do: /,
    undo: "userdel --remove carol",
  },
  {
    title: "refuses a distribution that it does not know",
    prepare: `printf 'ID=alpine\\nVERSION_ID="3.22"\\n' > /run/os-release
      mount --bind /run/os-release "$(readlink -f /etc/os-release)"`,
    // Another connection is what makes an up look at the distribution again.
    change: ({ "twofold:hosts": { alice } }) => {
      alice.address = "localhost";
    },
    says: /not supported\n\s+received: alpine 3\.22/,
    undo: 'umount "$(readlink -f /etc/os-release)"',
  },
  {
    title: "fails when the package mirror can't be reached, before anything is installed",
    prepare: `mv /etc/apt /root/apt && mkdir -p /etc/apt/sources.list.d
      echo 'deb [trusted=yes] http://127.0.0.1:9/debian trixie main' > /etc/apt/sources.list.d/none.list`,
    // A release's signature is checked with packages that an archive does without.
    change: ({ "twofold:node": node }) => {
      node.lightningd = {
        release: "v26.06.6",
        keyFile: `${lab.facts.identityFile}.pub`,
        fingerprint: "0".repeat(40),
      };
    },
    // The provider copies the key while the first stages run; nobody has looked at it.
    leaves: [`/usr/local/lib/twofold/release-key-${"0".repeat(40)}.asc`],
    says: /package mirror could not be used\n\s+received: [\s\S]*127\.0\.0\.1[\s\S]*to do: /,
    undo: "rm -rf /etc/apt && mv /root/apt /etc/apt",
  },
  {
    title: "refuses a device that is not there",
    change: ({ "twofold:node": { volume } }) => {
      volume.devices = [DISK_A, "/dev/disk/by-id/lab-alice-none"];
    },
    says: /STORAGE-DEVICE-ABSENT: .*by-id\/lab-alice-none[\s\S]*to do: /,
  },
  {
    title: "refuses one disk under two names",
    prepare: 'ln -s "$(readlink -f /dev/disk/by-id/lab-alice-a)" /dev/disk/by-id/other-name-of-a',
    change: ({ "twofold:node": { volume } }) => {
      volume.devices = [DISK_A, "/dev/disk/by-id/other-name-of-a"];
    },
    says: /STORAGE-SAME-DISK: [\s\S]*to do: /,
    undo: "rm /dev/disk/by-id/other-name-of-a",
  },
  {
    title: "fails when the disk is full, and leaves the old file and nothing beside it",
    prepare: `directory=$(dirname "$1"); cp -a "$directory" /run/small
      mount -t tmpfs -o size=8k,mode=0755 tmpfs "$directory"; cp -a /run/small/. "$directory"
      head -c 65536 /dev/zero > "$directory/filler" || true`,
    change: ({ "twofold:node": { options } }) => {
      options.alias = "carol";
    },
    // That lightningd was about to be restarted is not forgotten.
    leaves: ["/var/lib/twofold/pending/lightningd.json"],
    says: /no space left on device[\s\S]*received: [\s\S]*\/etc\/lightningd[\s\S]*to do: free space/i,
    undo: 'umount "$(dirname "$1")"; rm -r /run/small',
  },
  {
    title: "refuses an archive with another checksum than the declared one, before it goes to the host",
    change: ({ "twofold:node": { lightningd } }) => {
      lightningd.sha256 = "f".repeat(64);
    },
    says: /LIGHTNINGD_FILE_CHECKSUM: [\s\S]*received: [0-9a-f]{64}[\s\S]*to do: /,
  },
  {
    title: "refuses unknown keys and wrong types, all of them at once, with the key that was probably meant",
    change: ({ "twofold:node": node }) => {
      node.volme = node.volume;
      node.volume = { ...node.volume, devices: "/dev/sda", profile: 1 };
    },
    says: SLIPS,
    checkSays: SLIPS,
    checkStatus: EXIT.refused,
  },
];

for (const { title, change, says, checkSays, checkStatus, prepare, undo, leaves } of CASES) {
  test.serial(title, async (t) => {
    if (prepare !== undefined) await onHost(prepare);
    try {
      const before = await fingerprint();
      const configFile = changedConfig(change);
      const { status, stdout, stderr } = await up(configFile);
      t.not(status, 0);
      t.regex(stdout + stderr, says);
      if (checkSays !== undefined) {
        const checked = await check(configFile);
        t.is(checked.status, checkStatus ?? EXIT.failed);
        t.regex(checked.stdout + checked.stderr, checkSays);
      }
      t.deepEqual(changes(before, await fingerprint(), leaves), []);
    } finally {
      if (undo !== undefined) await onHost(undo);
    }
  });
}

test.serial("refuses a config that is not YAML, with line and column", async (t) => {
  const before = await fingerprint();
  const configFile = configText("config:\n  twofold:node: { name: alice\n  twofold:hosts: x: y\n");
  const { status, stdout, stderr } = await up(configFile);
  t.not(status, 0);
  t.regex(stdout + stderr, /yaml: line \d+: did not find expected/);
  const checked = await check(configFile);
  t.is(checked.status, EXIT.refused);
  t.regex(checked.stderr, /STACK_FILE_YAML: .*: line \d+, column \d+ is not YAML/);
  t.deepEqual(changes(before, await fingerprint()), []);
});

test.serial("every schedule that a preview takes is one that the host's own cron takes", async (t) => {
  const field = fc.oneof(
    fc.constantFrom(
      "*",
      "*/2",
      "*/60",
      "0",
      "08",
      "7",
      "5,7",
      "1-9/3",
      "sun-2",
      "mon",
      "jan,FEB",
      "23-59",
      "0-7",
      "1-12/11",
    ),
    fc.stringMatching(/^[0-9*][0-9a-z*,/-]{0,4}$/),
  );
  const seed = Math.floor(Math.random() * 2 ** 31);
  const random = fc.sample(fc.tuple(field, field, field, field, field), { seed, numRuns: 20_000 });
  const taken = random.map((fields) => fields.join(" ")).filter((schedule) => scheduleProblem(schedule) === undefined);
  t.true(taken.length > 100, `${taken.length} of ${random.length} taken`);
  /** As root's entries are, in a table of an account that has none. */
  const cron = (schedules: string[]) =>
    lab.tryExec(
      "alice",
      ...["sh", "-c", 'printf "%s true\\n" "$@" | crontab -u nobody - && crontab -u nobody -r', "sh"],
      ...schedules.slice(0, 500),
    );
  const accepted = await cron(taken);
  t.is(accepted.status, 0, `seed ${seed}: ${accepted.stderr}`);
  for (const schedule of ["0 25 * * *", "0 0 * * sunday", "5/15 * * * *", "0 0 0 * *", "*/0 * * * *"]) {
    const refused = await cron([schedule]);
    t.regex(refused.stderr, /bad (minute|hour|day)/, schedule);
    t.truthy(scheduleProblem(schedule));
  }
});

test.serial(
  "the right config and a repair finish what a full disk cut short, and the node has every invoice",
  async (t) => {
    outputOf(await up(lab.facts.configFile));
    // The alias was never written, so the next up has nothing to do; that lightningd was about to be restarted is not forgotten.
    const left = await check(lab.facts.configFile);
    t.is(left.status, 2);
    t.regex(left.stdout, /1 of \d+ item differs\n {2}unit:lightningd\.service: .*which an interrupted run left undone/);
    outputOf(await lab.verb("repair", "--yes"));
    const checked = await check(lab.facts.configFile);
    t.is(checked.status, 0, checked.stdout + checked.stderr);
    t.deepEqual(await eventually("lightningd answers", 60, () => lab.labels("alice")), INVOICES);
  },
);
