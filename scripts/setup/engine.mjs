/** A Docker engine on this machine: one that answers, else one that is installed and started. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory, stateDirectory } from "./environment.mjs";
import { SetupError } from "./errors.mjs";
import { withLock } from "./lock.mjs";
import { ensurePackages } from "./packages.mjs";
import { attempt, lastLines, run, which } from "./run.mjs";
import { waitUntil } from "./wait.mjs";

/** Seconds within which a started engine has to answer. */
const START_SECONDS = 60;

/**
 * @typedef {object} Engine
 * @property {string} version
 * @property {string} host DOCKER_HOST for programs that don't know Docker's contexts.
 * @property {number} [pid] Process id, if this call started it (and not systemd): for who has to take it down again.
 */

/**
 * @param {(line: string) => void} say
 * @returns {Promise<Engine>}
 * @throws {SetupError} if none answers and none can be started, or if it is on another machine.
 */
export async function ensureEngine(say) {
  const host = await engineHost();
  const there = await answering();
  if (there) {
    refuseRemote(host);
    say(`Docker engine ${there} answers at ${host}`);
    return { version: there, host };
  }
  return withLock(join(cacheDirectory(), "engine.lock"), say, async () => {
    const meanwhile = await answering();
    if (meanwhile) return { version: meanwhile, host };
    if (process.env.DOCKER_HOST || process.env.DOCKER_CONTEXT) {
      throw new SetupError({
        what: "the chosen Docker engine doesn't answer",
        received: `DOCKER_HOST=${process.env.DOCKER_HOST ?? ""} DOCKER_CONTEXT=${process.env.DOCKER_CONTEXT ?? ""}`,
        why: "the lab's hosts are containers",
        fix: "start that engine, or unset the variable to have one installed and started here",
      });
    }
    if (!which("dockerd")) {
      await ensurePackages(["docker.io"], "no Docker engine answers, and the lab's hosts are containers", say);
    }
    const pid = await start(say);
    const version = (await answering()) ?? "";
    say(`Docker engine ${version} was started by this set-up and goes on running${pid ? ` (process ${pid})` : ""}`);
    return { version, host: await engineHost(), ...(pid ? { pid } : {}) };
  });
}

/** Stops an engine that `ensureEngine` started. @param {Engine} engine */
export async function stopEngine(engine) {
  if (!engine.pid) return;
  process.kill(engine.pid, "SIGTERM");
  await waitUntil(() => !existsSync(`/proc/${engine.pid}`), START_SECONDS);
}

/** @returns {Promise<string | undefined>} The version of the engine that answers. */
async function answering() {
  if (!which("docker")) return undefined;
  const { status, stdout } = await attempt("docker", ["version", "--format", "{{.Server.Version}}"], { timeout: 20 });
  return status === 0 ? stdout.trim() : undefined;
}

async function engineHost() {
  if (process.env.DOCKER_HOST && !process.env.DOCKER_CONTEXT) return process.env.DOCKER_HOST;
  const fallback = "unix:///var/run/docker.sock";
  if (!which("docker")) return fallback;
  const { stdout } = await attempt("docker", ["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]);
  return stdout.trim() || fallback;
}

/** @param {string} host */
function refuseRemote(host) {
  if (host.startsWith("unix://")) return;
  throw new SetupError({
    what: "the Docker engine is on another machine",
    received: host,
    why: "the lab's disks are loop devices of this machine, which containers elsewhere can't use",
    fix: "run the lab on the engine's machine, or set DOCKER_HOST to a local unix:// socket",
  });
}

/**
 * @param {(line: string) => void} say
 * @returns {Promise<number | undefined>} The process id, if the engine is a child of nobody rather than a service.
 */
async function start(say) {
  if (process.getuid?.() !== 0) {
    throw new SetupError({
      what: "no Docker engine answers",
      received: `user id ${process.getuid?.()}`,
      why: "starting one needs root",
      fix: "start Docker, or run this as root",
    });
  }
  if (existsSync("/run/systemd/system")) {
    say("starting the docker service");
    await run("systemctl", ["start", "docker"], { fix: "journalctl -u docker says why it doesn't start" });
    return undefined;
  }
  // The package's own init script may have started it already.
  if (await waitUntil(async () => (await answering()) !== undefined, existsSync("/var/run/docker.pid") ? 5 : 0)) {
    return undefined;
  }
  mkdirSync(stateDirectory(), { recursive: true });
  const logFile = join(stateDirectory(), "dockerd.log");
  const log = openSync(logFile, "a");
  say(`starting dockerd (log: ${logFile})`);
  const daemon = spawn("dockerd", [], { detached: true, stdio: ["ignore", log, log], env: withoutLabs(process.env) });
  daemon.unref();
  let ended = false;
  daemon.on("exit", () => {
    ended = true;
  });
  await waitUntil(async () => ended || (await answering()) !== undefined, START_SECONDS);
  if ((await answering()) === undefined) {
    if (!ended) process.kill(/** @type {number} */ (daemon.pid), "SIGTERM");
    throw new SetupError({
      what: `dockerd ${ended ? "ended" : `did not answer within ${START_SECONDS} s`}`,
      received: lastLines(readFileSync(logFile, "utf8"), 5),
      why: "the lab's hosts are containers",
      fix: `see ${logFile}`,
    });
  }
  return daemon.pid;
}

/** The engine outlives the run that started it and must not be taken for a part of its lab. @param {NodeJS.ProcessEnv} env */
function withoutLabs(env) {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("TWOFOLD_")));
}
