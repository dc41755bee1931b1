/** The lightningd stage on a real host: programs, config, unit, journal mode; with the lab daemon, or the real one where it is given. */
import { execFileSync } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import type {
  BaseDocument,
  LightningdDocument,
  LightningdInstall,
  SqliteNodeDocument,
  StorageDocument,
  WitnessDocument,
} from "../../scripts/host/contract.ts";
import { lightningdDocument } from "../fixtures/lightningd/document.ts";
import { TestHost } from "../helpers/host.ts";
import { eventually } from "../helpers/lab.ts";

const NODE = "/usr/local/lib/twofold-lab/node";
const BACKEND = "/usr/local/lib/twofold-lab/chain-backend";
const MAIN = lightningdDocument().wallet.main;
const REAL = process.env.TWOFOLD_LIGHTNINGD_ARCHIVE;
const ARCHIVE = "/root/lightningd.tar.xz";

/** One kernel knows all hosts' filesystems, and takes two of one UUID for one. */
const UUID = randomUUID();

let host: TestHost;
let sha256: string;
const work = mkdtempSync(join(tmpdir(), "twofold-lightningd-"));

const base: BaseDocument = {
  stage: "base",
  host: "alice",
  packages: ["btrfs-progs", "curl", "gpg", "gpgv", "libpq5", "libsodium23", "libsqlite3-0", "sqlite3", "xz-utils"],
  user: { name: "bitcoin", home: "/var/lib/bitcoin" },
};
const witness: WitnessDocument = {
  stage: "witness",
  host: "alice",
  directory: "/var/lib/twofold/witness",
  node: { name: "alice", user: "bitcoin", group: "bitcoin" },
  writers: [],
};
const storage = (): StorageDocument => ({
  stage: "storage",
  host: "alice",
  volumes: [
    {
      name: "lightning",
      uuid: UUID,
      label: "alice-lightning",
      profile: "raid1",
      devices: host.disks.slice(0, 2),
      mount: "/srv/lightning",
      options: "defaults,autodefrag,nofail,x-systemd.device-timeout=30s",
      minimumDeviceBytes: 2 ** 29,
      directories: [{ path: "/srv/lightning/lightning", owner: "bitcoin", group: "bitcoin", mode: "0700" }],
    },
  ],
});
const desired = (given: Partial<SqliteNodeDocument> = {}): SqliteNodeDocument =>
  lightningdDocument({
    install: { kind: "archive", source: ARCHIVE, sha256 },
    options: { alias: "alice", "disable-plugin": ["bcli"], plugin: [BACKEND] },
    ...given,
  });
const withInstall = (install: LightningdInstall) => desired({ install });

const copyIn = (file: string, to: string) => execFileSync("docker", ["cp", file, `${host.container}:${to}`]);
const property = (name: string) =>
  host.must("systemctl", "show", "--value", `--property=${name}`, "lightningd.service");
const cli = async (...words: string[]) =>
  JSON.parse(await host.must("/opt/twofold/bin/lightning-cli", "--conf=/etc/lightningd/lightningd.conf", ...words));
/** Bytes 18 and 19 of main: 1 1 is a rollback journal, 2 2 is WAL. */
const header = async () =>
  (await host.must("od", "--address-radix=n", "--skip-bytes=18", "--read-bytes=2", "--format=u1", MAIN)).split(/\s+/);
const refusal = async (document: LightningdDocument) => {
  const { status, stdout, stderr } = await host.program(["apply", "lightningd", "machine"], document);
  return status === 3 ? stderr : `status ${status}: ${stdout}${stderr}`;
};
const unpacked = async () =>
  (await host.must("find", "/opt/twofold", "-mindepth", "1", "-maxdepth", "1")).split("\n").sort();

test.before(async (t) => {
  if (!REAL) t.log("not proved with the real lightningd: TWOFOLD_LIGHTNINGD_ARCHIVE is not set");
  const pack = join(import.meta.dirname, "../../scripts/standins/lightningd/pack.ts");
  execFileSync(process.execPath, [pack, join(work, "lab.tar.xz"), "--chain-backend", join(work, "chain-backend")]);
  const archive = REAL ?? join(work, "lab.tar.xz");
  sha256 = createHash("sha256").update(readFileSync(archive)).digest("hex");
  host = await TestHost.start({ disks: 2 });
  await host.must("mkdir", "-p", "/usr/local/lib/twofold-lab");
  copyIn(process.execPath, NODE);
  copyIn(join(work, "chain-backend"), BACKEND);
  copyIn(archive, ARCHIVE);
  await host.must("chmod", "0755", NODE, BACKEND);
  for (const document of [base, storage(), witness]) await host.apply(document);
});
test.after.always(async () => {
  await host?.stop();
  rmSync(work, { recursive: true, force: true });
});

test.serial("refuses an archive with a wrong checksum, and unpacks nothing", async (t) => {
  const before = await host.fingerprint();
  t.regex(
    await refusal(withInstall({ kind: "archive", source: ARCHIVE, sha256: "f".repeat(64) })),
    /lightningd-checksum/,
  );
  t.is(await host.fingerprint(), before);
  t.is((await host.exec(["test", "-e", "/opt/twofold"])).status, 1);
});

test.serial("refuses an archive that can't be downloaded, and unpacks nothing", async (t) => {
  const source = "https://127.0.0.1:1/lightningd.tar.xz";
  t.regex(await refusal(withInstall({ kind: "archive", source, sha256 })), /lightningd-download[\s\S]*curl: \(7\)/);
  t.deepEqual(await unpacked(), [""]);
});

test.serial(
  "refuses a release that another key signed or that was changed, and takes one that the declared key signed",
  async (t) => {
    const make = `
    set -eu
    export GNUPGHOME=$(mktemp -d)
    cp ${ARCHIVE} "$1/clightning-v26.06.6-Ubuntu-24.04-amd64.tar.xz"
    (cd "$1" && sha256sum clightning-* > SHA256SUMS-v26.06.6)
    for name in signer other; do gpg --batch --quiet --passphrase '' --quick-gen-key "$name <$name@example.org>" ed25519 sign never; done
    gpg --batch --quiet --user other --user signer --armor --output "$1/SHA256SUMS-v26.06.6.asc" --detach-sign "$1/SHA256SUMS-v26.06.6"
    gpg --armor --export signer > "$1/key.asc"
    gpg --armor --export other > "$1/other.asc"
    gpg --with-colons --list-keys signer other | awk -F: '$1 == "pub" { p = 1 } $1 == "fpr" && p { print $10; p = 0 }'
    gpgconf --kill all`;
    await host.must("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "gpg-agent", "gpgconf");
    await host.must("mkdir", "-p", "/root/release", "/root/changed");
    const { stdout } = await host.exec(["sh", "-s", "--", "/root/release"], make);
    const [signer = "", other = ""] = stdout.trim().split("\n").slice(-2);
    await host.must("cp", "-a", "/root/release/.", "/root/changed");
    await host.must("sh", "-c", "printf x >> /root/changed/clightning-v26.06.6-Ubuntu-24.04-amd64.tar.xz");
    const release = (directory: string, key: string, fingerprint: string) =>
      withInstall({
        kind: "release",
        version: "v26.06.6",
        baseUrl: `file://${directory}`,
        keyFile: `/root/release/${key}`,
        fingerprint,
      });

    const before = await host.fingerprint();
    t.regex(await refusal(release("/root/release", "key.asc", other)), /release-key/);
    t.regex(await refusal(release("/root/changed", "key.asc", signer)), /lightningd-checksum/);
    await host.must("sh", "-c", "echo >> /root/changed/SHA256SUMS-v26.06.6");
    t.regex(await refusal(release("/root/changed", "key.asc", signer)), /release-signature/);
    t.deepEqual(await unpacked(), [""]);
    // What is left to do is kept for the next apply.
    const changes = await host.changesSince(before);
    t.deepEqual(
      changes.filter((line) => !line.startsWith("/var/lib/twofold/pending")),
      [],
    );

    const changed = await host.apply(release("/root/release", "key.asc", signer));
    t.true(changed.includes("program:/opt/twofold/lightningd-v26.06.6"));
    t.is(await host.must("readlink", "/opt/twofold/bin"), "/opt/twofold/lightningd-v26.06.6/usr/bin");
  },
);

test.serial("a new node is installed and enabled, waits for init, and a second apply changes nothing", async (t) => {
  await host.apply(desired());
  t.is(await property("UnitFileState"), "enabled");
  t.is(await property("ActiveState"), "inactive");
  const before = await host.fingerprint("/opt/twofold");
  t.deepEqual(await host.apply(desired()), []);
  t.is(await host.fingerprint("/opt/twofold"), before);
  t.deepEqual(await host.drift(desired()), []);
});

test.serial(
  "of two inits at once the second waits for the first, and neither replaces a wallet that came meanwhile",
  async (t) => {
    // The first caller of sqlite3 is held up: init has seen then that there is no main.
    const held = `#!/bin/sh
if mkdir /tmp/held 2>/dev/null; then read -r _ < /tmp/go; fi
exec /usr/bin/sqlite3 "$@"
`;
    await host.must("sh", "-c", "mkfifo /tmp/go && chmod 0666 /tmp/go");
    t.is((await host.exec(["install", "-m", "0755", "/dev/stdin", "/usr/local/bin/sqlite3"], held)).status, 0);
    const first = host.program(["init"], []);
    await eventually("the first init makes its database", 30, () => host.must("ls", "-d", "/tmp/held"));
    let ended = false;
    const second = host.program(["init"], []).finally(() => {
      ended = true;
    });
    await eventually("the second init waits for a lock, or passes the first", 60, async () =>
      ended ? "passed" : host.must("grep", "-e", "->", "/proc/locks"),
    );
    t.false(ended);
    await host.must("runuser", "-u", "bitcoin", "--", "/usr/bin/sqlite3", MAIN, "PRAGMA journal_mode = WAL");
    const inode = await host.must("stat", "-c", "%i", MAIN);
    await host.must("sh", "-c", "echo go > /tmp/go");
    const reports = (await Promise.all([first, second])).map(({ status, stdout, stderr }) => {
      t.is(status, 0, stderr);
      return JSON.parse(stdout) as { nodeId: string };
    });
    await host.must("rm", "/usr/local/bin/sqlite3");
    t.is(await host.must("stat", "-c", "%i %h", MAIN), `${inode} 1`);
    t.deepEqual(new Set(reports.map(({ nodeId }) => nodeId)), new Set([(await cli("getinfo")).id]));
  },
);

test.serial("a node whose first start is over is in WAL, and another init or apply doesn't touch it", async (t) => {
  t.deepEqual(await header(), ["2", "2"]);
  const pid = await property("MainPID");
  const { status, stderr } = await host.program(["init"], []);
  t.is(status, 0, stderr);
  t.deepEqual(await host.apply(desired()), []);
  t.is(await property("MainPID"), pid);
  t.is((await cli("getinfo")).alias, "alice");
});

test.serial("a changed option restarts lightningd once", async (t) => {
  const pid = await property("MainPID");
  const changed = desired({ options: { ...desired().options, alias: "bob" } });
  t.true((await host.apply(changed)).includes("unit:lightningd.service"));
  t.not(await property("MainPID"), pid);
  t.is((await cli("getinfo")).alias, "bob");
  const now = await property("MainPID");
  t.deepEqual(await host.apply(changed), []);
  t.is(await property("MainPID"), now);
  await host.apply(desired());
});

test.serial("an apply that is refused before its first action leaves the running node nothing to do", async (t) => {
  const pid = await property("MainPID");
  const source = "https://127.0.0.1:1/lightningd.tar.xz";
  const said = await refusal(withInstall({ kind: "archive", source, sha256: "f".repeat(64) }));
  t.regex(said, /refused, nothing was changed: lightningd-download/);
  t.deepEqual(await host.drift(desired()), []);
  t.deepEqual(await host.apply(desired()), []);
  t.is(await property("MainPID"), pid);
});

test.serial(
  "what an interrupted run owes is owed still after an apply that is refused, when planned or later",
  async (t) => {
    const owed = {
      kind: "restart-unit",
      item: "unit:systemd-journald.service",
      unit: "systemd-journald.service",
      consequence: true,
    };
    const pending = "/var/lib/twofold/pending";
    await host.must("mkdir", "-p", pending);
    await host.exec(["tee", `${pending}/lightningd.json`], JSON.stringify([{ ...owed, summary: "restart it" }]));
    const sha256 = "f".repeat(64);
    for (const [source, code] of [
      [ARCHIVE, /lightningd-checksum/],
      ["https://127.0.0.1:1/lightningd.tar.xz", /lightningd-download/],
    ] as const) {
      t.regex(await refusal(withInstall({ kind: "archive", source, sha256 })), code);
      t.deepEqual(await host.drift(desired()), [owed.item], `after ${code}`);
    }
    t.deepEqual(await host.apply(desired()), [owed.item]);
    t.deepEqual(await host.drift(desired()), []);
  },
);

test.serial(
  "the journal mode of a running node is changed with lightningd stopped, and its invoices are still there",
  async (t) => {
    await cli("invoice", "1000", "before", "x");
    const { wallet } = desired();
    await host.apply(desired({ wallet: { ...wallet, journalMode: "delete" } }));
    t.deepEqual(await header(), ["1", "1"]);
    await host.apply(desired());
    t.deepEqual(await header(), ["2", "2"]);
    t.is((await cli("listinvoices", "before")).invoices.length, 1);
  },
);

test.serial("refuses to change the journal mode while a gate or a repair holds the start lock", async (t) => {
  await host.must("systemctl", "stop", "lightningd.service");
  await host.must("runuser", "-u", "bitcoin", "--", "sqlite3", MAIN, "PRAGMA journal_mode=DELETE");
  const lock = "/var/lib/twofold/node/start.lock";
  await host.must("systemd-run", "--unit=holds-the-lock", "flock", lock, "sleep", "infinity");
  await host.must("sh", "-c", `until ! flock --nonblock ${lock} true; do :; done`);
  t.regex(await refusal(desired()), /journal-mode[\s\S]*start lock/);
  t.deepEqual(await header(), ["1", "1"]);
  await host.must("systemctl", "stop", "holds-the-lock.service");
  await host.apply(desired());
  t.deepEqual(await header(), ["2", "2"]);
});

test.serial(
  "fails with lightningd's own words when it can't live with an option, and a corrected one brings it back",
  async (t) => {
    const wrong = desired({ options: { ...desired().options, nonsense: "1" } });
    const { status, stderr } = await host.program(["apply", "lightningd", "machine"], wrong);
    t.is(status, 1);
    t.regex(stderr, /each time it is started[\s\S]*nonsense/);
    await host.apply(desired());
    t.is((await cli("getinfo")).alias, "alice");
    t.deepEqual(await host.drift(desired()), []);
  },
);

test.serial("a changed program, config, unit or directory is named by check, and put back", async (t) => {
  const tree = `/opt/twofold/lightningd-${sha256.slice(0, 12)}`;
  const tampered: Record<string, string[]> = {
    [`program:${tree}`]: ["sh", "-c", `echo >> ${tree}/usr/bin/lightning-cli`],
    "symlink:/opt/twofold/bin": ["ln", "-sfn", "/usr/bin", "/opt/twofold/bin"],
    "file:/etc/lightningd/lightningd.conf": ["sh", "-c", "echo offline >> /etc/lightningd/lightningd.conf"],
    "file:/etc/twofold/gate.json": ["chmod", "0644", "/etc/twofold/gate.json"],
    "file:/usr/local/lib/twofold/start-lightningd": ["rm", "/usr/local/lib/twofold/start-lightningd"],
    "directory:/srv/lightning/lightning/regtest": ["chmod", "0755", "/srv/lightning/lightning/regtest"],
    "file:/etc/systemd/system/lightningd.service": ["sh", "-c", "echo >> /etc/systemd/system/lightningd.service"],
    "unit:lightningd.service": ["systemctl", "disable", "--quiet", "lightningd.service"],
  };
  for (const [item, command] of Object.entries(tampered)) {
    await host.must(...command);
    t.deepEqual(await host.drift(desired()), [item]);
    const { status, stderr } = await host.program(["repair"], [desired()]);
    t.is(status, 0, stderr);
    t.deepEqual(await host.drift(desired()), [], item);
  }
  t.is((await cli("getinfo")).alias, "alice");
});

test.serial("the unit is exposed no more than a hardened one (systemd-analyze security, 0 to 10)", async (t) => {
  const said = await host.must("systemd-analyze", "security", "--no-pager", "--threshold=20", "lightningd.service");
  t.regex(said, /Overall exposure level for lightningd.service: [01]\.\d/);
});

test.serial("refuses an apply while the volume isn't mounted, and writes nothing under its mount point", async (t) => {
  await host.must("systemctl", "stop", "lightningd.service");
  await host.must("umount", "/srv/lightning");
  t.regex(await refusal(desired()), /lightningd-volume-not-mounted/);
  t.is(await host.must("ls", "-A", "/srv/lightning"), "");
  await host.apply(storage());
  await host.apply(desired());
  t.is((await cli("getinfo")).alias, "alice");
});

// Last: services that start at boot keep the mount in namespaces of their own, so the disks stay busy after it.
test.serial(
  "stop ends lightningd for good, over a reboot too, and leaves its data; an apply brings it back",
  async (t) => {
    const { status, stdout } = await host.program(["stop", "lightningd"]);
    t.is(status, 0, stdout);
    t.is(await property("ActiveState"), "inactive");
    t.is(await property("UnitFileState"), "disabled");
    t.is((await host.program(["stop", "lightningd"])).status, 0, "it can be repeated");
    await host.reboot();
    t.is(await host.must("findmnt", "-no", "UUID", "/srv/lightning"), UUID);
    t.is(await host.must("systemctl", "is-active", "multi-user.target"), "active");
    t.is(await property("ActiveState"), "inactive");
    t.is(await property("ExecMainStartTimestampMonotonic"), "0", "it was not started in between either");
    t.deepEqual(await host.drift(desired()), ["unit:lightningd.service"]);
    t.deepEqual(await host.apply(desired()), ["unit:lightningd.service"]);
    t.is(await property("UnitFileState"), "enabled");
    t.is((await cli("listinvoices", "before")).invoices.length, 1);
  },
);
