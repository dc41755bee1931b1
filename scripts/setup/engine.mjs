/** A Docker engine on this machine: one that answers, else one that is installed and started. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { enter, leave, others, REGISTER, started, startedEngine } from "./engine-users.mjs";
import { cacheDirectory, stateDirectory } from "./environment.mjs";
import { SetupError } from "./errors.mjs";
import { withLock } from "./lock.mjs";
import { ensurePackages } from "./packages.mjs";
import { attempt, lastLines, run, which } from "./run.mjs";
import { waitUntil } from "./wait.mjs";

/** Seconds within which a started engine has to answer. */
const START_SECONDS = 60;
const PID_FILE = "/var/run/docker.pid";

/**
 * @typedef {object} Engine
 * @property {string} version
 * @property {string} host DOCKER_HOST for programs that don't know Docker's contexts.
 */

/**
 * This process is one of the engine's users from then on, until {@link leaveEngine} or its end.
 * @param {(line: string) => void} say
 * @returns {Promise<Engine>}
 * @throws {SetupError} if none answers and none can be started, or if it is on another machine.
 */
export async function ensureEngine(say) {
  // Under the lock, so that nobody stops between this look and this entry what answers now.
  return withLock(lockFile(), say, async () => {
    if (isRoot()) enter();
    const host = await engineHost();
    const there = await answering();
    if (there) {
      refuseRemote(host);
      say(`Docker engine ${there} answers at ${host}`);
      return { version: there, host };
    }
    if (process.env.DOCKER_HOST || process.env.DOCKER_CONTEXT) {
      throw new SetupError({
        what: "the chosen Docker engine doesn't answer",
        received: `DOCKER_HOST=${process.env.DOCKER_HOST ?? ""} DOCKER_CONTEXT=${process.env.DOCKER_CONTEXT ?? ""}`,
        why: "the lab's hosts are containers",
        fix: "start that engine, or unset the variable to have one installed and started here",
      });
    }
    const installs = !which("dockerd");
    if (installs) {
      await ensurePackages(["docker.io"], "no Docker engine answers, and the lab's hosts are containers", say);
    }
    const pid = await start(installs, say);
    if (pid) started(pid);
    const version = (await answering()) ?? "";
    say(`Docker engine ${version} was started by this set-up and goes on running${pid ? ` (process ${pid})` : ""}`);
    return { version, host: await engineHost() };
  });
}

/** Stops an engine that a set-up started, unless somebody else uses it. @param {(line: string) => void} say */
export async function leaveEngine(say) {
  if (!isRoot()) return;
  await withLock(lockFile(), say, async () => {
    leave();
    const pid = startedEngine();
    if (pid === undefined) return;
    const users = others();
    if (users.length > 0) return say(`the Docker engine goes on running: process ${users.join(", ")} uses it too`);
    const running = await containers();
    if (running.length > 0) return say(`the Docker engine goes on running: it has containers (${running.join(", ")})`);
    say(`stopping the Docker engine that was started for this (process ${pid})`);
    process.kill(pid, "SIGTERM");
    await waitUntil(() => startedEngine() === undefined, START_SECONDS);
  });
}

/** Only root starts engines, and thus has to know who uses them. */
const isRoot = () => process.getuid?.() === 0;
const lockFile = () => join(isRoot() ? REGISTER : cacheDirectory(), "engine.lock");

/** @returns {Promise<string[]>} Names of the containers that run. */
async function containers() {
  const { stdout } = await attempt("docker", ["ps", "--format", "{{.Names}}"], { timeout: 20 });
  return stdout.split("\n").filter(Boolean);
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
 * @param {boolean} installed Whether this set-up installed it just now. @param {(line: string) => void} say
 * @returns {Promise<number | undefined>} The process id, if the engine is a child of nobody rather than a service.
 */
async function start(installed, say) {
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
  if (await waitUntil(async () => (await answering()) !== undefined, existsSync(PID_FILE) ? 5 : 0)) {
    return installed ? Number(readFileSync(PID_FILE, "utf8")) : undefined;
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
