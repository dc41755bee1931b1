/** The exit statuses that `./twofold --help` promises, from the program itself. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { stringify } from "yaml";
import { EXIT } from "../../scripts/host/contract.ts";
import { statusOf } from "../../scripts/verbs/failure.ts";
import { type Ran, runProgram } from "../helpers/run-program.ts";
import { type Config, keyed, postgresConfig, raidConfig } from "../helpers/topologies.ts";

const directory = mkdtempSync(join(tmpdir(), "twofold-exit-"));
test.after.always(() => rmSync(directory, { recursive: true, force: true }));

/** A stack whose hosts answer nobody: nothing listens at this port of the machine itself. */
function stackFile(name: string, config: Config): string {
  for (const host of Object.values<Config["hosts"]>(config.hosts)) {
    host.peerAddress = host.address;
    host.address = "127.0.0.1";
    host.port = 1 + Object.values(config.hosts).indexOf(host);
  }
  const file = join(directory, `Pulumi.${name}.yaml`);
  writeFileSync(file, stringify({ config: keyed(config) }));
  return file;
}

const twofold = (...words: string[]): Promise<Ran> =>
  runProgram(join(import.meta.dirname, "../../twofold"), words, {
    env: { ...process.env, XDG_STATE_HOME: directory, PULUMI_STACK: "" },
  });

const silent = stackFile("silent", raidConfig());
const cluster = stackFile("cluster", postgresConfig());
const broken = stackFile(
  "broken",
  (() => {
    const config = raidConfig();
    config.node.volume.devices = ["/dev/sda"];
    return config;
  })(),
);

const REFUSED: [string, string[], RegExp][] = [
  ["a config that breaks a rule", ["check", "--config-file", broken], /can't be used:[\s\S]*RAID_/],
  ["a stack that is not there", ["status", "-s", "nowhere"], /stack\/unknown/],
  ["a verb for another kind of wallet", ["switchover", "--config-file", silent], /WALLET-KIND/],
  ["a question that nobody can answer", ["reinit", "vault", "--config-file", cluster], /verb\/no-terminal/],
];
for (const [what, words, says] of REFUSED) {
  test.serial(`refuses ${what} with status 3, before anything was changed`, async (t) => {
    const { status, stdout, stderr } = await twofold(...words);
    t.regex(stderr, says);
    t.is(status, EXIT.refused, stdout + stderr);
  });
}

const UNREACHABLE: [string, string[], RegExp][] = [
  ["init, of which another host says nothing", ["init", "--config-file", cluster], /init\/no-answer/],
  ["gate", ["gate", "--config-file", silent], /gate\/no-answer/],
  ["switchover", ["switchover", "--config-file", cluster], /PG-NO-PATRONI/],
  ["certificates", ["certificates", "renew", "--config-file", cluster], /TLS-RENEW/],
];
for (const [what, words, says] of UNREACHABLE) {
  test.serial(`fails with status 1 when no host can be reached: ${what}`, async (t) => {
    const { status, stdout, stderr } = await twofold(...words);
    t.regex(stdout + stderr, says);
    t.is(status, EXIT.failed, stdout + stderr);
  });
}

test("a defect of twofold's own is a failure", (t) => {
  t.is(statusOf(new TypeError("x is not a function")), EXIT.failed);
});
