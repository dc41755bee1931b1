import { spawn } from "node:child_process";
import test from "ava";
import { bundleHostProgram } from "../../scripts/host/build.ts";
import type { BaseDocument, MaintenanceDocument } from "../../scripts/host/contract.ts";
import { renderBootstrap } from "../../templates/bootstrap.ts";
import { TestHost } from "../helpers/host.ts";

let host: TestHost;
test.before(async () => {
  host = await TestHost.start({ disks: 0 });
});
test.after.always(async () => host?.stop());

const base: BaseDocument = {
  stage: "base",
  host: "alice",
  packages: ["cron"],
  user: { name: "bitcoin", home: "/var/lib/bitcoin" },
};
const maintenance: MaintenanceDocument = {
  stage: "maintenance",
  host: "alice",
  mounts: ["/srv/lightning"],
  balance: "0 0 * * *",
  scrub: "0 0 * * 0",
  deviceStats: "17 * * * *",
};
const LIBRARY = "/usr/local/lib/twofold";

/** Polls until `done` is true. */
async function until(done: () => Promise<boolean>, what: string): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await done())) if (Date.now() > deadline) throw new Error(`not within 60 s: ${what}`);
}

test.serial("bootstrap a second time changes nothing", async (t) => {
  const before = await host.fingerprint();
  const again = await host.exec(["sh", "-s", "--", "machine"], renderBootstrap());
  t.regex(again.stdout, /^bootstrap: ready, Node v20/);
  t.deepEqual(await host.changesSince(before), []);
});

test.serial("bootstrap puts back a launcher that was changed", async (t) => {
  const before = await host.must("sha256sum", `${LIBRARY}/run`);
  await host.must("sh", "-c", `echo 'exec true' >> ${LIBRARY}/run; chmod 0777 ${LIBRARY}/run`);
  t.is((await host.exec(["sh", "-s", "--", "machine"], renderBootstrap())).status, 0);
  t.is(await host.must("sha256sum", `${LIBRARY}/run`), before);
  t.is(await host.must("stat", "-c", "%U %a", `${LIBRARY}/run`), "root 755");
});

test.serial("refuses to bootstrap without root, and on an unknown distribution", async (t) => {
  const before = await host.fingerprint();
  const nobody = await host.exec(
    ["setpriv", "--reuid=65534", "--clear-groups", "--", "sh", "-s", "--", "machine"],
    renderBootstrap(),
  );
  t.is(nobody.status, 3);
  t.regex(nobody.stderr, /this needs root\n {2}received: uid 65534\n {2}why: .*\n {2}to do: /);

  const other = 'ID=alpine\nVERSION_ID="3.22"\n';
  await host.must("sh", "-c", `printf '${other.replaceAll("\n", "\\n")}' > /run/os-release`);
  const mounted = [
    "unshare",
    "--mount",
    "--",
    "sh",
    "-c",
    'mount --bind /run/os-release "$(readlink -f /etc/os-release)" && exec sh -s -- machine',
  ];
  const alpine = await host.exec(mounted, renderBootstrap());
  t.is(alpine.status, 3);
  t.regex(alpine.stderr, /not supported\n {2}received: alpine 3\.22/);
  t.deepEqual(await host.changesSince(before), []);
});

test.serial("refuses a host program that is missing, changed, or not root's own", async (t) => {
  const { sha256 } = await bundleHostProgram();
  const missing = await host.exec([`${LIBRARY}/run`, "0".repeat(64), "check"]);
  t.is(missing.status, 4);
  t.regex(missing.stderr, /missing on this host, or is another version/);

  const program = `${LIBRARY}/host-${sha256}.mjs`;
  await host.must("cp", "--archive", program, "/root/program");
  await host.must("sh", "-c", `echo ' ' >> ${program}`);
  t.regex((await host.program(["check"], [])).stderr, /is not what its name says/);
  await host.must("cp", "--archive", "/root/program", program);
  await host.must("chown", "65534", program);
  t.regex((await host.program(["check"], [])).stderr, /does not belong to root\n {2}received: uid 65534/);
  await host.must("chown", "root", program);
  t.is((await host.program(["check"], [])).status, 0);
});

test.serial("refuses documents and arguments that it doesn't understand, with status 3", async (t) => {
  const before = await host.fingerprint();
  const cases: [string[], unknown, RegExp][] = [
    [["apply", "base", "machine"], "{", /HOST-DOCUMENT: what came on stdin is not JSON/],
    [["apply", "base", "machine"], maintenance, /the document belongs to another stage\n {2}received: maintenance/],
    [["apply", "base", "machine"], { ...base, packages: "cron" }, /packages: .*\("cron"\)/],
    [["apply", "basis", "machine"], base, /HOST-ARGUMENTS: there is no such stage\n {2}received: basis/],
    [["apply", "base"], base, /takes 2 arguments/],
    [["aply"], base, /there is no such command\n {2}received: aply/],
    [["repair"], [base], /HOST-NOT-APPLIED/],
  ];
  for (const [words, input, message] of cases) {
    const { status, stderr } = await host.program(words, input);
    t.is(status, 3, words.join(" "));
    t.regex(stderr, message);
  }
  t.deepEqual(await host.changesSince(before), []);
});

test.serial("fails clearly when the package mirror can't be reached, and installs nothing", async (t) => {
  await host.must("sh", "-c", "mv /etc/apt /root/apt && mkdir -p /etc/apt/sources.list.d && rm -rf /var/lib/apt/lists");
  await host.must(
    "sh",
    "-c",
    "echo 'deb [trusted=yes] http://127.0.0.1:9/debian trixie main' > /etc/apt/sources.list.d/none.list",
  );
  const before = await host.fingerprint();
  const { status, stderr } = await host.program(["apply", "base", "machine"], base);
  t.is(status, 1);
  t.regex(
    stderr,
    /package mirror could not be used\n {2}received: [\s\S]*127\.0\.0\.1[\s\S]*\n {2}to do: check the host's network/,
  );
  t.deepEqual(await host.changesSince(before), []);
  await host.must("sh", "-c", "rm -rf /etc/apt && mv /root/apt /etc/apt");
});

test.serial("refuses a host with config and unit of another lightningd, before anything is changed", async (t) => {
  const files = ["/etc/lightningd/lightningd.conf", "/etc/systemd/system/lightningd.service"];
  await host.must("sh", "-euc", 'mkdir -p /etc/lightningd; for f; do echo "# mine" > "$f"; done', "sh", ...files);
  const before = await host.fingerprint();
  const { status, stderr } = await host.program(["apply", "base", "machine"], { ...base, node: "alice" });
  t.is(status, 3);
  t.regex(stderr, /HOST-IN-THE-WAY[\s\S]*received: \S+lightningd\.conf, \S+lightningd\.service\n/);
  t.deepEqual(await host.changesSince(before), []);
  await host.must("rm", ...files);
});

test.serial("base and maintenance are applied, and a second time change nothing at all", async (t) => {
  t.true((await host.apply(base)).includes("package:cron"));
  t.deepEqual(await host.apply(maintenance), [`file:${LIBRARY}/into-journal`, "file:/etc/cron.d/twofold"]);
  const started = () => host.must("systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "cron.service");
  const before = await host.fingerprint();
  const startedBefore = await started();
  t.deepEqual(await host.apply(base), []);
  t.deepEqual(await host.apply(maintenance), []);
  t.deepEqual(await host.changesSince(before), []);
  t.is(await started(), startedBefore);
});

test.serial("what deletes a resource runs the version in use, and fails clearly where there is none", async (t) => {
  const current = (...words: string[]) => host.exec([`${LIBRARY}/run`, "current", ...words], "[]");
  t.is((await current("check")).status, 0);
  await host.must("mv", `${LIBRARY}/current`, "/root/current");
  const missing = await current("check");
  t.is(missing.status, 4);
  t.regex(missing.stderr, /no host program is in use on this host\n {2}received: no symlink/);
  await host.must("ln", "-s", "../../../root/host-evil.mjs", `${LIBRARY}/current`);
  t.regex((await current("check")).stderr, /instead of 64 hexadecimal digits/);
  await host.must("mv", "--no-target-directory", "/root/current", `${LIBRARY}/current`);
  t.deepEqual(await host.drift(base), []);
});

test.serial(
  "each managed item that is tampered with is named by check alone, and put back by repair alone",
  async (t) => {
    const tampering: Record<string, string> = {
      "package:cron": "dpkg --remove --force-depends cron",
      "user:bitcoin": "userdel bitcoin && groupadd --system bitcoin",
      "directory:/var/lib/bitcoin": "rmdir /var/lib/bitcoin",
      [`symlink:${LIBRARY}/current`]: `ln -sfn host-other.mjs ${LIBRARY}/current`,
      "file:/etc/cron.d/twofold": "echo '* * * * * root true' >> /etc/cron.d/twofold",
      [`file:${LIBRARY}/into-journal`]: `chmod 0777 ${LIBRARY}/into-journal`,
      "unit:cron.service": "systemctl disable --now --quiet cron.service",
    };
    for (const [item, command] of Object.entries(tampering)) {
      await host.must("sh", "-c", command);
      const drift = await host.drift(base, maintenance);
      // A package takes its unit with it, an account its group.
      t.true(drift.includes(item), `${item}: ${drift}`);
      if (item !== "package:cron") t.deepEqual(drift, [item]);
      t.is((await host.program(["repair"], [base, maintenance])).status, 0);
      t.deepEqual(await host.drift(base, maintenance), [], item);
    }
  },
);

test.serial("check costs the host half a second of processor time at most", async (t) => {
  // Processor time, since the clock tells more of a test machine's load than of this program.
  const { sha256 } = await bundleHostProgram();
  const timed = `TIMEFORMAT='%U %S'; time ${LIBRARY}/run ${sha256} check`;
  const { status, stderr } = await host.exec(["bash", "-c", timed], JSON.stringify([base, maintenance]));
  t.is(status, 0);
  const [user = Number.NaN, system = Number.NaN] = stderr.trim().split(" ").map(Number);
  t.log(`check of two stages: ${user} s user, ${system} s system`);
  t.true(user + system < 0.5);
});

test.serial("repair leaves alone what was changed in the config but never applied", async (t) => {
  const changed = { ...maintenance, scrub: "0 3 * * 0" };
  t.deepEqual(await host.drift(changed), ["file:/etc/cron.d/twofold"]);
  const { status, stderr } = await host.program(["repair"], [changed]);
  t.is(status, 3);
  t.regex(stderr, /HOST-NOT-APPLIED[\s\S]*run pulumi up/);
});

test.serial("a run outlives the connection that asked for it, and the next apply follows it", async (t) => {
  await host.must("dpkg", "--purge", "--force-depends", "cron");
  // The run waits for the host lock as long as the test holds it, so it is under way for as long as the test wants.
  const blocker = spawn("docker", ["exec", "-i", host.container, "flock", "/run/twofold/lock", "cat"]);
  t.teardown(() => blocker.kill());
  await until(
    async () => (await host.exec(["flock", "--nonblock", "/run/twofold/lock", "true"])).status !== 0,
    "the lock is held",
  );
  const { sha256 } = await bundleHostProgram();
  const first = spawn("docker", ["exec", "-i", host.container, `${LIBRARY}/run`, sha256, "apply", "base", "machine"]);
  first.stdin.end(JSON.stringify(base));
  const units = () => host.must("systemctl", "list-units", "--plain", "--no-legend", "twofold-*base*");
  await until(async () => (await units()) !== "", "the run has begun");
  await host.must("sh", "-c", "kill -KILL $(pgrep -f '[m]js apply base')");
  t.not(await units(), "", "the run is still there");

  const second = host.program(["apply", "base", "machine"], base);
  blocker.stdin.end();
  const { status } = await second;
  t.is(status, 0);
  await until(async () => (await units()) === "", "both runs have ended");
  t.deepEqual(await host.drift(base), []);
});

test.serial("a run waits for the one that holds the lock, and says for whom", async (t) => {
  // A run that takes its time: a package whose installation waits for a lock that this test holds.
  const blocker = spawn("docker", ["exec", "-i", host.container, "python3", "-c", LOCK_DPKG]);
  t.teardown(() => blocker.kill());
  await until(async () => (await host.exec(["test", "-e", "/run/dpkg-locked"])).status === 0, "dpkg is locked");
  const slow = host.program(["apply", "base", "machine"], { ...base, packages: ["cron", "tree"] });
  await until(
    async () =>
      (await host.exec(["sh", "-c", "grep -q 'install package tree' /run/twofold/*-base-*.log"])).status === 0,
    "the slow run holds the lock",
  );
  const waiting = host.program(["apply", "maintenance", "machine"], maintenance);
  const units = () => host.must("systemctl", "list-units", "--plain", "--no-legend", "twofold-*");
  await until(async () => /base[\s\S]*maintenance/.test(await units()), "the other run waits");
  blocker.stdin.end();
  t.is((await slow).status, 0);
  const { status, stdout } = await waiting;
  t.is(status, 0);
  t.regex(stdout, /waiting for the host lock, held by 'base' since/);
});

const LOCK_DPKG = `
import fcntl, sys
file = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(file, fcntl.LOCK_EX)
open("/run/dpkg-locked", "w").close()
sys.stdin.read()
`;

test.serial("an installation that was killed is finished by the next apply", async (t) => {
  const document: BaseDocument = { ...base, packages: ["cron", "sqlite3", "tree"] };
  for (let round = 0; round < 5; round++) {
    await host.exec(["dpkg", "--purge", "--force-depends", "sqlite3", "tree"]);
    const killed = host.program(["apply", "base", "machine"], document);
    let unit = "";
    await until(async () => {
      unit =
        (await host.must("systemctl", "list-units", "--plain", "--no-legend", "twofold-*base*")).split(" ")[0] ?? "";
      return unit !== "";
    }, "the run has begun");
    await new Promise((resolve) => setTimeout(resolve, 200 + Math.random() * 1500));
    await host.exec(["systemctl", "kill", "--signal=KILL", unit]);
    await killed;
    await host.apply(document);
    t.deepEqual(await host.drift(document), []);
    t.is(await host.must("dpkg", "--audit"), "");
  }
});

test.serial("what a restart was planned for is still done when the run was killed before it", async (t) => {
  const pending = [
    {
      kind: "restart-unit",
      item: "unit:cron.service",
      summary: "restart cron.service",
      unit: "cron.service",
      consequence: true,
    },
  ];
  await host.must("mkdir", "-p", "/var/lib/twofold/pending");
  await host.exec(["tee", "/var/lib/twofold/pending/maintenance.json"], JSON.stringify(pending));
  const pid = () => host.must("systemctl", "show", "--property=MainPID", "cron.service");
  const before = await pid();
  t.deepEqual(await host.drift(maintenance), ["unit:cron.service"]);
  t.deepEqual(await host.apply(maintenance), ["unit:cron.service"]);
  t.not(await pid(), before);
  t.deepEqual(await host.apply(maintenance), []);
});

test.serial("a maintenance command brings its output and its status to the journal", async (t) => {
  const entry = `${LIBRARY}/into-journal`;
  const journal = async (name: string) =>
    host.must("journalctl", "--quiet", "--output=json", "--output-fields=MESSAGE,PRIORITY", "-t", `twofold-${name}`);
  t.is((await host.exec([entry, "test-good", "/", "echo", "balanced"])).status, 0);
  t.is((await host.exec([entry, "test-bad", "/", "sh", "-c", "exit 64"])).status, 64);
  t.is((await host.exec([entry, "test-gone", "/usr/local", "echo", "must not run"])).status, 1);
  await host.must("journalctl", "--sync");
  t.regex(await journal("test-good"), /"PRIORITY":"6"[\s\S]*balanced|balanced[\s\S]*"PRIORITY":"6"/);
  t.regex(await journal("test-bad"), /ended with status 64/);
  t.regex(await journal("test-bad"), /"PRIORITY":"3"/);
  const gone = await journal("test-gone");
  t.regex(gone, /\/usr\/local is not mounted/);
  t.notRegex(gone, /"MESSAGE":"must not run"/);
});
