/** The provider plugins: the official ones where they are or can be fetched, else this project's stand-ins. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pulumiHome, ROOT } from "./environment.mjs";
import { thinned } from "./progress.mjs";
import { attempt, isExecutable, which } from "./run.mjs";
import { reachable } from "./upstream.mjs";

const NAMES = ["command", "docker"];
/** Seconds for the download of a plugin (about 50 MB). */
const INSTALL_SECONDS = 300;

/**
 * @typedef {object} Plugins
 * @property {string[]} path Directories to put on PATH.
 * @property {string[]} standins Names of the plugins for which a stand-in is at work.
 */

/**
 * @param {string} toolchain Directory of the Pulumi CLI. @param {(line: string) => void} say
 * @returns {Promise<Plugins>}
 */
export async function ensurePlugins(toolchain, say) {
  /** @type {Plugins} */
  const plugins = { path: [], standins: [] };
  for (const name of NAMES) {
    const version = JSON.parse(readFileSync(join(ROOT, `node_modules/@pulumi/${name}/package.json`), "utf8")).version;
    const found = findOfficial(name, version) ?? (await install(name, version, toolchain, say));
    if (found) {
      if (found.onPath) plugins.path.push(found.onPath);
      say(`${name}: the official plugin, ${found.where}`);
    } else {
      plugins.path.push(join(ROOT, "scripts/standins", name));
      plugins.standins.push(name);
      say(`${name}: a STAND-IN is at work, since the official plugin ${version} is neither there nor to be had`);
    }
  }
  return plugins;
}

/** @param {string} name @param {string} version The one that the SDK asks the engine for. */
function findOfficial(name, version) {
  const executable = `pulumi-resource-${name}`;
  const onPath = which(executable);
  if (onPath && !existsSync(join(dirname(onPath), "STANDIN"))) return { where: onPath };
  const directory = join(pulumiHome(), "plugins");
  const installed = existsSync(directory) ? readdirSync(directory) : [];
  const chosen = chooseInstalled(installed, name, version);
  if (chosen === undefined || !isExecutable(join(directory, chosen, executable))) return undefined;
  // The engine takes only the exact version by itself.
  const exact = chosen === pluginDirectory(name, version);
  return { where: join(directory, chosen), ...(exact ? {} : { onPath: join(directory, chosen) }) };
}

/** @param {string} name @param {string} version */
const pluginDirectory = (name, version) => `resource-${name}-v${version}`;

/**
 * Which of Pulumi's plugin directories to use: the exact version, else the newest of the same major version.
 * @param {string[]} entries Of $PULUMI_HOME/plugins. @param {string} name @param {string} version
 * @returns {string | undefined}
 */
export function chooseInstalled(entries, name, version) {
  const prefix = pluginDirectory(name, "");
  const versions = entries
    .filter((entry) => entry.startsWith(prefix) && /^\d+\.\d+\.\d+$/.test(entry.slice(prefix.length)))
    // Pulumi leaves this file beside a directory that it did not finish.
    .filter((entry) => !entries.includes(`${entry}.partial`))
    .map((entry) => entry.slice(prefix.length))
    .filter((candidate) => candidate.split(".")[0] === version.split(".")[0])
    .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const chosen = versions.includes(version) ? version : versions.at(-1);
  return chosen === undefined ? undefined : pluginDirectory(name, chosen);
}

/** @param {string} name @param {string} version @param {string} toolchain @param {(line: string) => void} say */
async function install(name, version, toolchain, say) {
  if (!(await reachable(say))) return undefined;
  say(`installing the plugin ${name} ${version}`);
  const { status, stderr } = await attempt(
    join(toolchain, "pulumi"),
    ["plugin", "install", "resource", name, `v${version}`],
    { timeout: INSTALL_SECONDS, line: thinned(say), env: { ...process.env, PULUMI_SKIP_UPDATE_CHECK: "true" } },
  );
  if (status === 0) return findOfficial(name, version);
  say(`pulumi plugin install failed: ${stderr.trim().split("\n").at(-1)}`);
  return undefined;
}
