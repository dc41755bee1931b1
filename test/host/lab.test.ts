/**
 * `npm run lab` and `npm run lab:down` as an operator runs them, on one lab of this run's own: killed all along its first provisioning,
 * finished, run again, and taken down whole and in parts.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test from "ava";
import { ensureEngine } from "../../scripts/setup/engine.mjs";
import { labsDirectory } from "../../scripts/setup/environment.mjs";
import { hostImage } from "../../scripts/setup/image.mjs";
import { labDown, labelled } from "../../scripts/setup/lab-down.mjs";
import { LABEL, labPlaces, RUN_VARIABLE, readJournal } from "../../scripts/setup/lab-places.mjs";
import { listLoops, mountsBelow } from "../../scripts/setup/mounts.mjs";
import { chooseSeed, Random } from "../faults/seed.ts";
import { eventually } from "../helpers/lab.ts";
import { outputOf, type Ran, runProgram } from "../helpers/run-program.ts";

const ROOT = join(import.meta.dirname, "../..");
const NAME = "one-host";
const id = `t${randomBytes(4).toString("hex")}`;
const env = { ...process.env, TWOFOLD_LAB_ID: id };
const places = labPlaces(NAME, id);
const container = `twofold-${places.stack}-alice`;

const archive = process.env.TWOFOLD_LIGHTNINGD_ARCHIVE;
const UP = ["run", "lab", "--", NAME, ...(archive === undefined ? [] : ["--lightningd", archive])];
const DOWN = ["run", "lab:down", "--", NAME];
const npm = (words: string[]): Promise<Ran> => runProgram("npm", words, { cwd: ROOT, env });
const twofold = (...words: string[]): Promise<Ran> =>
  runProgram(join(ROOT, "twofold"), [...words, "-s", places.stack], { env });
const docker = async (...words: string[]): Promise<string> => outputOf(await runProgram("docker", words)).trim();

const seed = chooseSeed();
const random = new Random(seed);

test.before(async () => {
  console.log(`seed ${seed} (TWOFOLD_SEED repeats it)`);
  // lab:down stops an engine that nobody else uses.
  await ensureEngine(console.log);
  await hostImage();
});
test.after.always("npm run lab:down", () => labDown({ name: NAME, id }));

/** Who dies: the whole process group, or set-up's own process, without its Pulumi. */
type Victim = "group" | "itself";

/** Runs `npm run lab` and kills it at the line that matches, or a few lines after it. */
async function killedUp(point: RegExp, victim: Victim): Promise<void> {
  const child = spawn("npm", UP, { cwd: ROOT, env, detached: true, stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "close");
  const lines: string[] = [];
  let left: number | undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    // Dots say that it works, and nothing of where it stands.
    if (line.startsWith("@ ")) continue;
    lines.push(line);
    if (left !== undefined) left -= 1;
    else if (point.test(line)) left = random.between(0, 2);
    if (left === 0) break;
  }
  if (left !== 0) throw new Error(`${point} was not reached:\n${lines.slice(-20).join("\n")}`);
  // The lock's file names its holder: the process that npm has started.
  const holder = /^process (\d+) /.exec(readFileSync(places.lock, "utf8"))?.[1];
  process.kill(victim === "group" ? -(child.pid as number) : Number(holder), "SIGKILL");
  await ended;
  console.log(`killed (${victim}) at: ${lines.at(-1)}`);
}

/** Processes of the lab's runs that live. */
function processes(): string[] {
  return readdirSync("/proc").flatMap((pid) => {
    try {
      const mine = readFileSync(`/proc/${pid}/environ`, "utf8")
        .split("\0")
        .includes(`${RUN_VARIABLE}=${places.directory}`);
      return mine ? [`process ${pid} (${readFileSync(`/proc/${pid}/comm`, "utf8").trim()})`] : [];
    } catch {
      return []; // no process, or one that has ended meanwhile
    }
  });
}

/** Locks of Pulumi's on the lab's state. */
function stateLocks(): string[] {
  const directory = join(places.backend, ".pulumi/locks");
  const entries = existsSync(directory) ? readdirSync(directory, { recursive: true, encoding: "utf8" }) : [];
  return entries.filter((entry) => entry.endsWith(".json"));
}

/** Everything of the lab that is left on this machine. */
async function traces(): Promise<string[]> {
  return [
    ...(await labelled("container", places.stack)).map((one) => `container ${one}`),
    ...(await labelled("network", places.stack)).map((one) => `network ${one}`),
    ...(await listLoops(places.directory)).map(({ device, file }) => `${device} over ${file}`),
    ...mountsBelow(readFileSync("/proc/self/mountinfo", "utf8"), places.directory).map((point) => `mount ${point}`),
    ...readdirSync(labsDirectory()).filter((entry) => entry.startsWith(places.stack)),
    ...processes(),
  ];
}

test.serial("lab:down removes every trace of a first up that was killed, and says so when there is none", async (t) => {
  await killedUp(/Container lab-alice creat/, "group");
  t.true((await traces()).length > 3, "it had begun");
  t.is(stateLocks().length, 1, "Pulumi's state is locked");
  t.regex(outputOf(await npm(DOWN)), new RegExp(`lab '${places.stack}' is down`));
  t.deepEqual(await traces(), []);
  t.regex(outputOf(await npm(DOWN)), /nothing left/);
});

test.serial("a first up that is killed at one stage after the other is finished by the next", async (t) => {
  // As a run leaves it that was killed before Pulumi wrote it down; its name is the host's.
  const stranger = await docker(
    "create",
    "--name",
    container,
    "--label",
    `${LABEL}=${places.stack}`,
    await hostImage(),
    "true",
  );
  const points: [RegExp, Victim][] = [
    [/alice-base-apply creating .* base: /, "itself"],
    [/alice-storage-apply creating .* make BTRFS/, "group"],
    // One of the later stages each time, to spare the time that another run takes.
    random.shuffled<[RegExp, Victim]>([
      [/alice-witness-apply creating .* witness: /, "itself"],
      [/alice-lightningd-apply creating .* unpack/, "group"],
      [/init: starting lightningd/, "group"],
    ])[0] as [RegExp, Victim],
  ];
  let locked = false;
  let survivor: ChildProcess | undefined;
  t.teardown(() => survivor?.kill());
  for (const [point, victim] of points) {
    await killedUp(point, victim);
    locked ||= stateLocks().length > 0;
    t.deepEqual(
      (await docker("ps", "--all", "--quiet", "--no-trunc")).split("\n").filter((one) => one === stranger),
      [],
    );
    // As Pulumi does where it draws on a terminal, and not into a pipe that its parent's death has closed.
    survivor ??= spawn("sleep", ["600"], { env: { ...env, [RUN_VARIABLE]: places.directory } });
  }
  t.true(locked, "a killed Pulumi leaves its lock, which the next run takes off");
  t.is(survivor?.signalCode, "SIGTERM", "what outlived its run was ended by the next");

  const ran = await npm(UP);
  const output = outputOf(ran);
  t.regex(output, new RegExp(`The lab '${places.stack}' is up after \\d+ s`));
  t.deepEqual([...processes(), ...stateLocks()], []);
  const checked = await twofold("check");
  t.is(checked.status, 0, checked.stdout + checked.stderr);
  await eventually("the node answers", 60, async () =>
    / id 0[23][0-9a-f]{64}\n/.test(outputOf(await twofold("status"))),
  );
});

test.serial("run again, it skips what is there, and prints the hosts and what to run next, which works", async (t) => {
  const facts = async () => [
    await docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", container),
    await listLoops(places.directory),
    readFileSync(places.configFile, "utf8"),
    (await docker("exec", container, "systemctl", "show", "--property=ExecMainPID,NRestarts", "lightningd")).split(
      "\n",
    ),
  ];
  const before = await facts();
  const output = outputOf(await npm(UP));
  t.regex(output, /^Resources:\n\s+\d+ unchanged\nDuration/m);
  for (const skipped of [
    "node_modules matches",
    "Pulumi \\S+ is there",
    "installed: btrfs-progs",
    "twofold-lab-host:\\w+ is there",
  ]) {
    t.regex(output, new RegExp(skipped));
  }
  t.deepEqual(await facts(), before);

  const [, ssh = "", port] = /^Hosts:\n {2}alice +(\S.*?) +\(root@127\.0\.0\.1, port (\d+)\)$/m.exec(output) ?? [];
  t.is(port, String(readJournal(places)?.hosts.alice?.sshPort));
  const next = /^Next:\n((?: {2}.+\n)+)/m.exec(output)?.[1] ?? "";
  const commands = next
    .split("\n")
    .flatMap((line) => line.trim().split(/ {3,}/, 1))
    .filter((line) => line !== "");
  t.deepEqual(commands, [
    `./twofold status -s ${places.stack}`,
    `./twofold check -s ${places.stack}`,
    `TWOFOLD_LAB_ID=${id} npm run lab -- ${NAME}`,
    `TWOFOLD_LAB_ID=${id} npm run lab:down -- ${NAME}`,
  ]);
  // As they stand there, in a shell; the third has just been run, and the last one is the next test.
  for (const command of [`${ssh} hostname`, ...commands.slice(0, 2)]) {
    const ran = await runProgram("sh", ["-c", command], { cwd: ROOT });
    t.is(ran.status, 0, `${command}: ${ran.stdout}${ran.stderr}`);
    if (command.startsWith(ssh)) t.is(ran.stdout.trim(), "alice");
  }
});

test.serial("lab:down removes what is left where parts are gone already", async (t) => {
  const [disk] = Object.values(readJournal(places)?.hosts.alice?.disks ?? {});
  await docker("rm", "--force", container);
  await runProgram("losetup", ["--detach", disk?.device ?? ""]);
  t.false(
    (await listLoops(places.directory)).some(({ file }) => file === disk?.file),
    "the disk is detached",
  );
  for (const part of [places.journal, places.backend, join(places.directory, "keys"), places.configFile]) {
    rmSync(part, { recursive: true });
  }
  t.true((await traces()).length > 2);
  t.regex(outputOf(await npm(DOWN)), new RegExp(`lab '${places.stack}' is down`));
  t.deepEqual(await traces(), []);
});
