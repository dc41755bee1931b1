/** Brings a lab up: toolchain, engine, image, disks, `pulumi up`, first start of the node. Whatever is there is skipped. */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { harvestPackages, seedPackages } from "./apt-cache.mjs";
import { ensureDependencies } from "./dependencies.mjs";
import { ensureDisks } from "./disks.mjs";
import { ensureEngine } from "./engine.mjs";
import { NODE, ROOT } from "./environment.mjs";
import { SetupError } from "./errors.mjs";
import { linkOrCopy, writeAtomically } from "./files.mjs";
import { hostImage } from "./image.mjs";
import { labelled } from "./lab-down.mjs";
import { labPlaces, readJournal, writeJournal } from "./lab-places.mjs";
import { endLeftovers } from "./lab-processes.mjs";
import { withLock } from "./lock.mjs";
import { ensurePackages } from "./packages.mjs";
import { ensurePlugins } from "./plugins.mjs";
import { steps } from "./progress.mjs";
import { ensureStack, labEnvironment, removeDeadLocks, resourceIds, up } from "./pulumi.mjs";
import { attempt, run } from "./run.mjs";
import { ensureToolchain, sha256Of } from "./toolchain.mjs";
import { waitUntil } from "./wait.mjs";

/** Where the hosts see the lab's tools (stacks/lab.ts). */
const CHAIN_BACKEND = "/usr/local/lib/twofold-lab/chain-backend";
/** Below the range from which the kernel takes ports for outgoing connections (ip_local_port_range). */
const PORTS = { first: 20000, last: 29999 };

/** Seconds for a host to boot; it takes 1 to 3, and up to fstab's 30 s device timeout for each disk that doesn't come. */
const BOOT_SECONDS = 120;

/**
 * @typedef {object} Lab
 * @property {string} stack @property {string} directory @property {string} configFile
 * @property {Record<string, string | undefined>} env In which `pulumi` and `./twofold` work on it.
 * @property {Record<string, { container: string, sshPort: number, disks: Record<string, { file: string, device: string | null }> }>} hosts
 * @property {string} identityFile The operator's private key.
 * @property {import("./engine.mjs").Engine} engine
 * @property {string[]} standins Provider plugins for which a stand-in was at work.
 */

/**
 * @typedef {object} Options
 * @property {string | undefined} [name] Lab file in stacks/labs. Default: default.
 * @property {string | undefined} [id] Default: $TWOFOLD_LAB_ID.
 * @property {string | undefined} [lightningd] Archive of the real one. Default: as before, at first the lab daemon.
 * @property {(line: string) => void} [log] @property {boolean} [terminal] Let Pulumi draw its progress itself.
 */

/**
 * @param {Options} [options]
 * @returns {Promise<Lab>}
 * @throws {SetupError}
 */
export async function labUp({ name, id, lightningd, log = console.log, terminal = false } = {}) {
  const places = labPlaces(name, id);
  refuseNotRoot();
  if (lightningd !== undefined) refuseMissingArchive(resolve(lightningd));
  return withLock(places.lock, log, async () => {
    await endLeftovers(places.directory, log);
    removeDeadLocks(places);
    const { step } = steps(9, log);
    await step("npm packages", ensureDependencies);
    const toolchain = await step("Pulumi", ensureToolchain);
    const plugins = await step("provider plugins", (say) => ensurePlugins(toolchain, say));
    const engine = await step("Docker engine", ensureEngine);
    await step("programs on this machine", (say) =>
      ensurePackages(
        ["btrfs-progs", "openssh-client", "xz-utils"],
        "disks, keys and archives of the lab are made with them",
        say,
      ),
    );
    const image = await step("host image", hostImage);
    const env = labEnvironment(places, toolchain, plugins, engine);
    const journal = await step("disks, keys and config", (say) => prepare(places, { lightningd, image, env, say }));
    await step("hosts and node (pulumi up)", () => applyStack(places, journal, env, { log, terminal }));
    await step("first start of the node", (say) => initialise(places, env, say));
    return {
      stack: places.stack,
      directory: places.directory,
      configFile: places.configFile,
      env,
      hosts: journal.hosts,
      identityFile: places.operatorKey,
      engine,
      standins: plugins.standins,
    };
  });
}

function refuseNotRoot() {
  if (process.getuid?.() === 0) return;
  throw new SetupError({
    what: "a lab needs root",
    received: `user id ${process.getuid?.()}`,
    why: "its disks are loop devices, and only root makes those",
    fix: "run it as root (sudo npm run lab)",
  });
}

/** @param {string} archive */
function refuseMissingArchive(archive) {
  if (existsSync(archive)) return;
  throw new SetupError({
    what: "the archive of lightningd is not there",
    received: archive,
    why: "--lightningd (or TWOFOLD_LIGHTNINGD_ARCHIVE) names the archive that the node is installed from",
    fix: "name an archive laid out like the official release (usr/bin, usr/libexec/c-lightning), or leave it out for the lab daemon",
  });
}

/**
 * Everything that `pulumi up` needs, each thing written into the journal before it is taken.
 * @param {import("./lab-places.mjs").Places} places
 * @param {{ lightningd: string | undefined, image: string, env: Record<string, string | undefined>, say: (line: string) => void }} context
 */
async function prepare(places, { lightningd, image, env, say }) {
  const labFile = join(ROOT, `stacks/labs/${places.name}.yaml`);
  const read = await run(NODE, [join(ROOT, "scripts/setup/lab-config.ts"), "read", labFile], {
    why: "it says which hosts and disks the lab has",
    fix: `correct ${labFile}`,
  });
  /** @type {{ description: string, hosts: Record<string, Record<string, number>> }} */
  const wanted = JSON.parse(read);
  say(wanted.description);
  mkdirSync(places.directory, { recursive: true, mode: 0o700 });
  const journal = await plan(places, wanted.hosts, lightningd);
  writeJournal(places, journal);
  await ensureDisks(places, journal, say);

  await ensureKey(places.operatorKey);
  /** @type {Record<string, string>} */
  const hostKeys = {};
  for (const host of Object.keys(journal.hosts)) {
    const keys = keysOf(places, host);
    mkdirSync(keys, { recursive: true });
    hostKeys[host] = await ensureKey(join(keys, "ssh_host_ed25519_key"));
    writeAtomically(join(keys, "authorized_keys"), readFileSync(`${places.operatorKey}.pub`, "utf8"));
    seedPackages(packagesOf(places, host));
  }
  const { archive, sha256 } = await makeTools(places, journal, say);
  const salt = await ensureStack(places, env);
  const facts = {
    lab: {
      stack: places.stack,
      image,
      network: journal.network,
      tools: places.tools,
      hosts: Object.fromEntries(
        Object.entries(journal.hosts).map(([name, { container, sshPort, disks }]) => [
          name,
          {
            container,
            sshPort,
            keys: keysOf(places, name),
            packages: packagesOf(places, name),
            disks: Object.fromEntries(Object.entries(disks).map(([disk, { device }]) => [disk, device])),
          },
        ]),
      ),
    },
    hostKeys,
    identityFile: places.operatorKey,
    archive,
    sha256,
    chainBackend: CHAIN_BACKEND,
    encryptionSalt: salt,
  };
  await run(NODE, [join(ROOT, "scripts/setup/lab-config.ts"), "write", labFile, places.configFile], {
    input: JSON.stringify(facts),
    why: "the stack's config is made from the lab file",
    fix: `correct ${labFile}`,
  });
  say(`config: ${places.configFile}`);
  return journal;
}

/** @param {import("./lab-places.mjs").Places} places @param {string} host */
const keysOf = (places, host) => join(places.directory, "keys", host);
/** @param {import("./lab-places.mjs").Places} places @param {string} host */
const packagesOf = (places, host) => join(places.directory, "packages", host);

/**
 * What the lab is going to take: as before where it was there before.
 * @param {import("./lab-places.mjs").Places} places @param {Record<string, Record<string, number>>} hosts @param {string | undefined} archive
 * @returns {Promise<import("./lab-places.mjs").Journal>}
 */
async function plan(places, hosts, archive) {
  const before = readJournal(places);
  /** @type {import("./lab-places.mjs").Journal} */
  const journal = {
    stack: places.stack,
    network: `twofold-${places.stack}`,
    lightningd: archive
      ? { archive: resolve(archive), sha256: await sha256Of(resolve(archive)) }
      : (before?.lightningd ?? null),
    hosts: {},
  };
  for (const [host, disks] of Object.entries(hosts)) {
    const known = before?.hosts[host];
    journal.hosts[host] = {
      container: `twofold-${places.stack}-${host}`,
      sshPort: known?.sshPort ?? (await freePort(Object.values(journal.hosts).map(({ sshPort }) => sshPort))),
      disks: Object.fromEntries(
        Object.entries(disks).map(([disk, bytes]) => [
          disk,
          { file: join(places.disks, `${host}-${disk}.img`), bytes, device: known?.disks[disk]?.device ?? null },
        ]),
      ),
    };
  }
  return journal;
}

/** @param {number[]} taken By this lab. */
async function freePort(taken) {
  for (;;) {
    const port = PORTS.first + Math.floor(Math.random() * (PORTS.last - PORTS.first + 1));
    if (!taken.includes(port) && (await isFree(port))) return port;
  }
}

/** @param {number} port @returns {Promise<boolean>} */
function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.on("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** @param {string} file @returns {Promise<string>} The public key, without its comment. */
async function ensureKey(file) {
  if (!existsSync(`${file}.pub`)) {
    await attempt("rm", ["-f", file]);
    await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "twofold-lab", "-f", file]);
  }
  return readFileSync(`${file}.pub`, "utf8").split(" ").slice(0, 2).join(" ");
}

/**
 * The lab's own programs, and lightningd's archive.
 * @param {import("./lab-places.mjs").Places} places @param {import("./lab-places.mjs").Journal} journal @param {(line: string) => void} say
 */
async function makeTools(places, journal, say) {
  mkdirSync(places.tools, { recursive: true });
  linkOrCopy(NODE, join(places.tools, "node"));
  const pack = join(ROOT, "scripts/standins/lightningd/pack.ts");
  await run(NODE, [pack, places.labDaemon, "--chain-backend", join(places.tools, "chain-backend")], {
    why: "it makes the lab's chain backend, and the lab daemon where no real lightningd is given",
  });
  if (journal.lightningd) {
    say(`lightningd from ${journal.lightningd.archive}`);
    return journal.lightningd;
  }
  say("lightningd is the LAB DAEMON, a stand-in (--lightningd ARCHIVE runs the real one)");
  return { archive: places.labDaemon, sha256: await sha256Of(places.labDaemon) };
}

/**
 * @param {import("./lab-places.mjs").Places} places @param {import("./lab-places.mjs").Journal} journal
 * @param {Record<string, string | undefined>} env @param {{ log: (line: string) => void, terminal: boolean }} output
 */
async function applyStack(places, journal, env, output) {
  const recorded = {
    container: await resourceIds(places, env, "docker:index/container:Container"),
    network: await resourceIds(places, env, "docker:index/network:Network"),
  };
  const there = {
    container: await labelled("container", places.stack),
    network: await labelled("network", places.stack),
  };
  // A killed run may have made what Pulumi never heard of; its name would be in the way.
  const unknown = (/** @type {"container" | "network"} */ kind) =>
    there[kind].filter((id) => !recorded[kind].includes(id));
  if (unknown("container").length > 0) await run("docker", ["rm", "--force", "--volumes", ...unknown("container")]);
  if (unknown("network").length > 0) await run("docker", ["network", "rm", ...unknown("network")]);
  // And Pulumi may know what somebody has removed.
  const missing = [...recorded.container, ...recorded.network].some(
    (id) => ![...there.container, ...there.network].includes(id),
  );
  await boot(
    there.container.filter((id) => recorded.container.includes(id)),
    output.log,
  );
  try {
    await up(places, env, { refresh: missing, ...output });
  } finally {
    for (const host of Object.keys(journal.hosts)) harvestPackages(packagesOf(places, host), output.log);
  }
}

/**
 * Starts hosts that stand still, as after a reboot of this machine, and waits until they have booted.
 * @param {string[]} containers @param {(line: string) => void} log
 */
async function boot(containers, log) {
  const running = (await run("docker", ["container", "ls", "--quiet", "--no-trunc"])).split("\n");
  for (const container of containers.filter((id) => !running.includes(id))) {
    log(`starting host ${container.slice(0, 12)}`);
    await run("docker", ["start", container]);
    // "degraded" is booted too: a unit that failed is for `./twofold status` to tell.
    const booted = async () => {
      const { stdout } = await attempt("docker", ["exec", container, "systemctl", "is-system-running"]);
      return /^(running|degraded)$/.test(stdout.trim());
    };
    if (await waitUntil(booted, BOOT_SECONDS)) continue;
    throw new SetupError({
      what: "a lab host doesn't boot",
      received: `container ${container.slice(0, 12)}, ${BOOT_SECONDS} s after its start`,
      why: "its node can't be reached",
      fix: `docker exec ${container.slice(0, 12)} systemctl list-jobs says what it waits for`,
    });
  }
}

/**
 * @param {import("./lab-places.mjs").Places} places @param {Record<string, string | undefined>} env @param {(line: string) => void} say
 */
async function initialise(places, env, say) {
  await run(join(ROOT, "twofold"), ["init", "--stack", places.stack], {
    env,
    line: say,
    why: "a new node is started for the first time by this verb alone",
    fix: `see its message above; ./twofold init -s ${places.stack} does it by hand`,
  });
}
