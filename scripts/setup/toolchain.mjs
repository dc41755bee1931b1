/** The pinned Pulumi CLI and its Node language host. */
import { createHash } from "node:crypto";
import {
  createReadStream,
  createWriteStream,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { pulumiHome, ROOT } from "./environment.mjs";
import { codeOf, SetupError } from "./errors.mjs";
import { withLock } from "./lock.mjs";
import { thinned } from "./progress.mjs";
import { attempt, isExecutable, run, which, whichAll } from "./run.mjs";
import { reachable, SITE } from "./upstream.mjs";

const PROGRAMS = ["pulumi", "pulumi-language-nodejs"];
/** Seconds for the download of an archive of about 150 MB. */
const DOWNLOAD_SECONDS = 600;

/** The version that package.json pins, for CLI and SDK alike. */
export function pulumiVersion() {
  return JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).dependencies["@pulumi/pulumi"];
}

/**
 * Makes sure of the pinned CLI: already there, else Pulumi's own download, else built from Go modules.
 * @param {(line: string) => void} say
 * @returns {Promise<string>} The directory to put on PATH.
 * @throws {SetupError} if none of the three can be had.
 */
export async function ensureToolchain(say) {
  const version = pulumiVersion();
  // Where the npm package `pulumi`, that is `npx pulumi`, looks first.
  const home = join(pulumiHome(), "versions", version);
  const there = await existing(home, version);
  if (there) {
    say(`Pulumi ${version} is there: ${there}`);
    return there;
  }
  return withLock(join(pulumiHome(), "versions", `${version}.lock`), say, async () => {
    const meanwhile = await existing(home, version);
    if (meanwhile) return meanwhile;
    removeDrafts(dirname(home), version);
    // Beside its final place, so that the finished directory is renamed into it and a half-made one never is.
    const draft = mkdtempSync(join(dirname(home), draftPrefix(version)));
    try {
      const bin = join(draft, "bin");
      mkdirSync(bin);
      if (!(await download(version, bin, say))) await build(version, bin, say);
      await verify(bin, version);
      rmSync(home, { recursive: true, force: true });
      renameSync(draft, home);
    } finally {
      rmSync(draft, { recursive: true, force: true });
    }
    say(`Pulumi ${version} put into ${home}`);
    return join(home, "bin");
  });
}

/** @param {string} version */
const draftPrefix = (version) => `.${version}-draft-`;

/** @param {string} directory @param {string} version What killed set-ups left. */
function removeDrafts(directory, version) {
  for (const name of readdirSync(directory)) {
    if (name.startsWith(draftPrefix(version))) rmSync(join(directory, name), { recursive: true, force: true });
  }
}

/** @param {string} home @param {string} version */
async function existing(home, version) {
  // npm puts its own `pulumi`, which is no toolchain, before the operator's.
  for (const directory of [join(home, "bin"), ...whichAll("pulumi").map((program) => dirname(program))]) {
    if (!PROGRAMS.every((program) => isExecutable(join(directory, program)))) continue;
    if ((await reportedVersion(directory)) === version) return directory;
  }
  return undefined;
}

/** @param {string} directory */
async function reportedVersion(directory) {
  const { stdout } = await attempt(join(directory, "pulumi"), ["version"], {
    env: { ...process.env, PULUMI_SKIP_UPDATE_CHECK: "true" },
    timeout: 30,
  }).catch(() => ({ stdout: "" })); // cut short or built for another machine: as good as none
  return stdout.trim().replace(/^v/, "");
}

/** @param {string} directory @param {string} version */
async function verify(directory, version) {
  const missing = PROGRAMS.filter((program) => !isExecutable(join(directory, program)));
  const reported = missing.length === 0 ? await reportedVersion(directory) : undefined;
  if (reported === version) return;
  throw new SetupError({
    what: "the Pulumi CLI that was just made is not the pinned one",
    received: missing.length > 0 ? `no ${missing.join(", ")}` : `version '${reported}' instead of ${version}`,
    why: "CLI and SDK have to be of one version",
    fix: `install Pulumi ${version} by hand and put it on PATH`,
  });
}

/**
 * The SHA-256 of a file in a list such as sha256sum(1) writes.
 * @param {string} list @param {string} file
 * @returns {string | undefined}
 */
export function checksumOf(list, file) {
  for (const line of list.split("\n")) {
    const [, digest, name] = /^([0-9a-f]{64})[ *]+(\S+)$/.exec(line.trim()) ?? [];
    if (name === file) return digest;
  }
  return undefined;
}

/**
 * Pulumi's own archive, checked against the checksums that its release on GitHub lists: another place than the archive's.
 * @param {string} version @param {string} bin @param {(line: string) => void} say
 * @returns {Promise<boolean>} False if it can't be had; then `bin` is empty.
 */
async function download(version, bin, say) {
  if (!(await reachable(say))) return false;
  const file = `pulumi-v${version}-linux-${process.arch}.tar.gz`;
  const archive = join(bin, "..", file);
  const deadline = AbortSignal.timeout(DOWNLOAD_SECONDS * 1000);
  try {
    const list = await get(
      `https://github.com/pulumi/pulumi/releases/download/v${version}/pulumi-${version}-checksums.txt`,
      deadline,
    );
    const expected = checksumOf(await list.text(), file);
    if (!expected) throw new Error(`the release lists no checksum of ${file}`);
    say(`downloading ${file}`);
    const response = await get(`${SITE}/releases/sdk/${file}`, deadline);
    await pipeline(
      Readable.fromWeb(/** @type {import("node:stream/web").ReadableStream} */ (response.body)),
      createWriteStream(archive),
      { signal: deadline },
    );
    const received = await sha256Of(archive);
    if (received !== expected) throw new Error(`SHA-256 of ${file} is ${received}, the release says ${expected}`);
    await run("tar", ["-xzf", archive, "-C", bin, "--strip-components=1"]);
    return true;
  } catch (error) {
    say(`Pulumi's own download failed: ${codeOf(error) ?? /** @type {Error} */ (error).message}`);
    rmSync(bin, { recursive: true, force: true });
    mkdirSync(bin);
    return false;
  } finally {
    rmSync(archive, { force: true });
  }
}

/** @param {string} url @param {AbortSignal} signal */
async function get(url, signal) {
  const response = await fetch(url, { signal });
  if (!response.ok) throw new Error(`HTTP ${response.status} from ${url}`);
  return response;
}

/** @param {string} file */
export async function sha256Of(file) {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}

/**
 * Builds CLI and language host. toolchain/NAME/go.mod and go.sum pin every module; Go checks each download against go.sum.
 * @param {string} version @param {string} bin @param {(line: string) => void} say
 */
async function build(version, bin, say) {
  if (!which("go")) {
    throw new SetupError({
      what: `Pulumi ${version} can't be had`,
      received: `neither a download from ${SITE} nor a Go compiler to build it`,
      why: "it is what applies a topology to hosts",
      fix: `let this machine reach ${SITE}, or install Go 1.25 or later`,
    });
  }
  const ldflags = `-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v${version}`;
  say("building the Pulumi CLI from Go modules (about 7 minutes the first time on 2 cores, 1 with a warm Go cache)");
  await goBuild("pulumi", ["-ldflags", ldflags], "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", bin, say);
  say("building the Node language host");
  // The last release whose language host lies in a module that can be had; the engine still speaks its protocol.
  await goBuild(
    "language",
    ["-ldflags", "-s -w"],
    "github.com/pulumi/pulumi/sdk/v3/nodejs/cmd/pulumi-language-nodejs",
    bin,
    say,
  );
}

/**
 * @param {string} module Directory below toolchain/. @param {string[]} flags @param {string} program
 * @param {string} bin @param {(line: string) => void} say
 */
async function goBuild(module, flags, program, bin, say) {
  await run("go", ["build", "-v", "-mod=readonly", "-buildvcs=false", ...flags, "-o", `${bin}/`, program], {
    cwd: fileURLToPath(new URL(`toolchain/${module}`, import.meta.url)),
    env: { ...process.env, CGO_ENABLED: "0", GOFLAGS: "", GOWORK: "off" },
    line: thinned(say, 10),
    why: "the pinned Pulumi is built from source where its download can't be had",
    fix: "check that Go is 1.25 or later, that its module proxy can be reached, and that the disk has 6 GB free",
  });
}
