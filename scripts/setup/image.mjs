/** The lab hosts' image: Debian with systemd and sshd, made by debootstrap, since no image registry may be in reach. */
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { packageCache } from "./apt-cache.mjs";
import { cacheDirectory } from "./environment.mjs";
import { SetupError } from "./errors.mjs";
import { withLock } from "./lock.mjs";
import { unmountBelow } from "./mounts.mjs";
import { ensurePackages } from "./packages.mjs";
import { thinned } from "./progress.mjs";
import { attempt, run } from "./run.mjs";

/** Debian's name of the release, by the number that TWOFOLD_LAB_DEBIAN takes. */
const SUITES = { 13: "trixie", 12: "bookworm" };
/** What any Debian server has; everything that a node needs beyond it is the components' business. */
const PACKAGES = [
  "systemd",
  "systemd-sysv",
  "dbus",
  "openssh-server",
  "iproute2",
  "python3-minimal",
  "ca-certificates",
];
/** Files of image/ and where they lie in the image. */
const FILES = [
  { from: "lab-start", to: "usr/local/sbin/lab-start", mode: 0o755 },
  { from: "apt.conf", to: "etc/apt/apt.conf.d/90lab", mode: 0o644 },
  // OpenSSH has it since 9.8 and refuses to start with a word that it doesn't know.
  { from: "sshd.conf", to: "etc/ssh/sshd_config.d/lab.conf", mode: 0o644, only: "trixie" },
  // systemd 252 has no SYSTEMD_SYSFS_CHECK.
  {
    from: "fstab-generator",
    to: "etc/systemd/system-generators/systemd-fstab-generator",
    mode: 0o755,
    only: "bookworm",
  },
];
/** Prefix of drafts, removed by whoever next holds the lock. */
const DRAFT = ".draft-";

/** @param {string} name */
const source = (name) => fileURLToPath(new URL(`image/${name}`, import.meta.url));

/** @throws {SetupError} for a release that no lab can have. */
function chosenSuite() {
  const number = process.env.TWOFOLD_LAB_DEBIAN || "13";
  const suite = new Map(Object.entries(SUITES)).get(number);
  if (suite !== undefined) return suite;
  throw new SetupError({
    what: "no lab host can be made of this Debian release",
    received: `TWOFOLD_LAB_DEBIAN=${number}`,
    why: `a lab's hosts are one of Debian ${Object.keys(SUITES).join(", ")}`,
    fix: "unset it for Debian 13, or name one of these",
  });
}

/** @param {string} suite */
const filesOf = (suite) => FILES.filter(({ only }) => only === undefined || only === suite);

/**
 * Twelve hexadecimal digits that change with whatever goes into the image by this recipe.
 * @param {string} suite
 */
export function recipeDigest(suite) {
  const files = filesOf(suite);
  const hash = createHash("sha256").update(JSON.stringify([suite, PACKAGES, files]));
  hash.update(readFileSync(fileURLToPath(import.meta.url)));
  for (const { from } of files) hash.update(readFileSync(source(from)));
  return hash.digest("hex").slice(0, 12);
}

/**
 * Makes sure that the engine has the image.
 * @param {(line: string) => void} [say]
 * @returns {Promise<string>} Its tag, which names the recipe.
 */
export async function hostImage(say = () => {}) {
  const suite = chosenSuite();
  const digest = recipeDigest(suite);
  const tag = `twofold-lab-host:${digest}`;
  if (await imported(tag)) {
    say(`${tag} is there`);
    return tag;
  }
  const directory = join(cacheDirectory(), "images");
  mkdirSync(directory, { recursive: true });
  return withLock(join(directory, "lock"), say, async () => {
    if (await imported(tag)) return tag;
    await removeDrafts(directory);
    const archive = join(directory, `${suite}-${digest}.tar`);
    if (!existsSync(archive)) {
      // Of earlier recipes; whoever still needs one makes it again.
      removeMatching(directory, new RegExp(`^${suite}-.*\\.tar$`));
      await build(directory, suite, archive, say);
    }
    say(`importing ${archive} as ${tag}`);
    await run("docker", ["import", archive, tag], {
      why: "the lab's hosts are containers of this image",
      fix: `if the archive is damaged, remove ${archive} and run it again`,
    });
    return tag;
  });
}

/** @param {string} tag */
async function imported(tag) {
  return (await attempt("docker", ["image", "inspect", "--format", "{{.Id}}", tag])).status === 0;
}

/** @param {string} directory */
async function removeDrafts(directory) {
  for (const name of readdirSync(directory)) {
    if (!name.startsWith(DRAFT)) continue;
    await unmountBelow(join(directory, name)); // debootstrap mounts /proc while it works
    rmSync(join(directory, name), { recursive: true, force: true });
  }
}

/**
 * @param {string} directory @param {string} suite @param {string} archive Appears only when it is whole. @param {(line: string) => void} say
 */
async function build(directory, suite, archive, say) {
  await ensurePackages(["debootstrap", "debian-archive-keyring"], "the lab hosts' image is made by debootstrap", say);
  const draft = mkdtempSync(join(directory, DRAFT));
  const root = join(draft, "root");
  say(`debootstrap of ${suite} (about a minute)`);
  await run(
    "debootstrap",
    ["--variant=minbase", `--include=${PACKAGES.join(",")}`, `--cache-dir=${packageCache()}`, suite, root],
    {
      line: thinned(say),
      why: "the lab hosts' image is made by debootstrap",
      fix: `check that this is run as root, that the Debian mirror can be reached, and that ${directory} has 1 GB free`,
    },
  );
  for (const { from, to, mode } of filesOf(suite)) {
    mkdirSync(dirname(join(root, to)), { recursive: true });
    copyFileSync(source(from), join(root, to));
    chmodSync(join(root, to), mode);
  }
  // Each host gets its own identity at its first start, and its packages from the lab's cache.
  truncateSync(join(root, "etc/machine-id"));
  removeMatching(join(root, "etc/ssh"), /^ssh_host_/);
  removeMatching(join(root, "var/cache/apt/archives"), /\.deb$/);
  await run("tar", ["-C", root, "-cf", join(draft, "image.tar"), "."]);
  renameSync(join(draft, "image.tar"), archive);
  rmSync(draft, { recursive: true, force: true });
}

/** @param {string} directory @param {RegExp} pattern */
function removeMatching(directory, pattern) {
  for (const name of readdirSync(directory)) if (pattern.test(name)) rmSync(join(directory, name));
}
