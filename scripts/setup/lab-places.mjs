/** A lab's name and everything that follows from it. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { labsDirectory, ROOT } from "./environment.mjs";
import { codeOf, SetupError } from "./errors.mjs";
import { writeAtomically } from "./files.mjs";

/** Label of every container and network of a lab; its value is the stack. */
export const LABEL = "twofold.lab";
/** Set for every process of a lab's run, so that one that outlived its run is recognised; the value is the lab's directory. */
export const RUN_VARIABLE = "TWOFOLD_LAB_RUN";

/**
 * @typedef {object} Places
 * @property {string} name The lab file's name. @property {string | undefined} id
 * @property {string} stack
 * @property {string} directory Everything of the lab lies in it (ARCHITECTURE.md, "The lab").
 * @property {string} lock @property {string} journal @property {string} configFile
 * @property {string} store Mount point of the filesystem that holds the disks' images. @property {string} storeImage
 * @property {string} disks Subvolume of the store, so that one snapshot has all disks at one instant.
 * @property {string} backend @property {string} passphrase @property {string} project
 * @property {string} tools @property {string} operatorKey @property {string} labDaemon
 */

/**
 * @param {string} [name] @param {string} [id] Makes a separate instance of the lab.
 * @param {{ leftovers?: boolean }} [options] Whether a lab is known, too, of which there is only a directory: its file may be gone.
 * @returns {Places}
 * @throws {SetupError} for an unknown name, naming the known ones.
 */
export function labPlaces(name = "default", id = process.env.TWOFOLD_LAB_ID || undefined, { leftovers = false } = {}) {
  if (id !== undefined && !/^[a-z0-9]{1,16}$/.test(id)) {
    throw new SetupError({
      what: "TWOFOLD_LAB_ID can't be used",
      received: id,
      why: "it becomes part of the names of containers and networks",
      fix: "use 1 to 16 small letters and digits",
    });
  }
  const known = [...new Set([...knownLabs(), ...(leftovers ? labsThere(id) : [])])].sort();
  if (!known.includes(name)) {
    throw new SetupError({
      what: `there is no lab '${name}'`,
      received: name,
      why: "a lab is a file in stacks/labs/",
      fix: `name one of: ${known.join(", ")}`,
    });
  }
  const stack = stackName(name, id);
  const directory = join(labsDirectory(), stack);
  const inside = (/** @type {string} */ path) => join(directory, path);
  return {
    name,
    id,
    stack,
    directory,
    lock: join(labsDirectory(), `${stack}.lock`),
    journal: inside("lab.json"),
    configFile: inside(`Pulumi.${stack}.yaml`),
    store: inside("store"),
    storeImage: inside("store.img"),
    disks: inside("store/disks"),
    backend: inside("pulumi"),
    passphrase: inside("passphrase"),
    project: inside("project"),
    tools: inside("tools"),
    operatorKey: inside("operator_ed25519"),
    labDaemon: inside("lightningd-lab.tar.xz"),
  };
}

export function knownLabs() {
  return readdirSync(join(ROOT, "stacks/labs"))
    .filter((file) => file.endsWith(".yaml"))
    .map((file) => file.slice(0, -".yaml".length))
    .sort();
}

/**
 * Names of the labs that have a directory.
 * @param {string | undefined} id
 */
function labsThere(id) {
  const directory = labsDirectory();
  const entries = existsSync(directory) ? readdirSync(directory, { withFileTypes: true }) : [];
  const ending = id === undefined ? "" : `-${id}`;
  return entries
    .filter((entry) => entry.isDirectory() && entry.name.startsWith("lab-") && entry.name.endsWith(ending))
    .map(({ name }) => name.slice("lab-".length, name.length - ending.length));
}

/** @param {string} name @param {string | undefined} id */
export function stackName(name, id) {
  if (id !== undefined) return `lab-${name}-${id}`;
  return name === "default" ? "lab" : `lab-${name}`;
}

/**
 * What the lab has taken; each thing is written down before it is taken.
 * @typedef {object} Journal
 * @property {string} stack
 * @property {string} network
 * @property {{ archive: string, sha256: string } | null} lightningd The real one, if one was given.
 * @property {Record<string, { container: string, sshPort: number, disks: Record<string, { file: string, bytes: number, device: string | null }> }>} hosts
 */

/** @param {Places} places @returns {Journal | undefined} Undefined if there is none: the lab is not there. */
export function readJournal(places) {
  try {
    return JSON.parse(readFileSync(places.journal, "utf8"));
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** @param {Places} places @param {Journal} journal */
export function writeJournal(places, journal) {
  writeAtomically(places.journal, `${JSON.stringify(journal, undefined, 2)}\n`);
}
