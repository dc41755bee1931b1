/** Puts lightningd's programs on the host: verified first, unpacked aside, then renamed into place. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import {
  access,
  constants,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import type { LightningdInstall } from "../../contract.ts";
import { LIGHTNINGD } from "../../contract.ts";
import { syncDirectory } from "../../files.ts";
import { planDirectory, planSymlink, ROOT_DIRECTORY } from "../../planning.ts";
import { must, run } from "../../process.ts";
import { type Entry, readEntries } from "../../read.ts";
import type { ApplyContext, CommonAction, ItemName } from "../../stage.ts";
import { Refusal } from "../../stage.ts";
import { INSTALLATIONS, programsOf, TREE_PREFIX, treeOf } from "./layout.ts";
import { lacksLibpq, libpqMajor, libpqNote, withoutLibpq } from "./libpq.ts";
import { describeLibrary, isElf, parseLdd } from "./libraries.ts";
import { readTree, type TreeState, writeManifest } from "./manifest.ts";
import { judgeSignature, parseChecksum, parsePrimaryFingerprints, releaseFiles } from "./release.ts";

/** What of Core Lightning is called here, in lightningd's own directory. */
const PROGRAMS = ["lightningd", "lightning-cli", "lightning-hsmtool"] as const;

type Unpacked = Exclude<LightningdInstall, { kind: "preinstalled" }>;

export interface InstallAction {
  kind: "lightningd/install";
  item: ItemName;
  summary: string;
}

export type InstallFacts = {
  installations: Entry | undefined;
  /** The symlink {@link LIGHTNINGD.programs}. */
  programs: Entry | undefined;
} & (
  | { kind: "preinstalled"; found: "missing" | "not executable" }
  | {
      kind: "preinstalled";
      found: "ok";
      /** What it says to --version; "unknown" if it lacks libraries. */
      version: string;
      missingLibraries: string[];
      /** Programs of Core Lightning that should lie beside it and don't. */
      missingPrograms: string[];
    }
  | {
      kind: "unpacked";
      tree: TreeState;
      /** Only where the tree isn't right and the archive lies on the host: its checksum, undefined if it isn't there. */
      archive?: { sha256: string | undefined };
      /** Only where the tree isn't right: Node's name of the processor and glibc's version. */
      system?: { architecture: string; glibc: string };
    }
);

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}

async function beginningOf(path: string): Promise<Uint8Array> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** Libraries that the programs need and the host lacks. */
async function findMissingLibraries(files: string[]): Promise<string[]> {
  const missing = new Set<string>();
  for (const file of files) {
    if (!isElf(await beginningOf(file))) continue;
    // A static program has no libraries: ldd says so with status 1 and names none.
    const { stdout } = await run("ldd", [file]);
    for (const name of parseLdd(stdout)) missing.add(name);
  }
  return [...missing].sort();
}

async function readVersion(program: string): Promise<string> {
  return (await must(program, ["--version"])).split("\n")[0]?.trim() ?? "";
}

/** glibc's version, e.g. "2.41". */
async function readGlibc(): Promise<string> {
  return (await must("getconf", ["GNU_LIBC_VERSION"])).split(" ")[1]?.trim() ?? "";
}

function refuseMissingLibraries(program: string, missing: string[]): void {
  if (missing.length === 0) return;
  throw new Refusal({
    code: "lightningd-libraries",
    what: "lightningd's programs need libraries that this host lacks",
    received: missing.map(describeLibrary).join(", "),
    why: `${program} can't start without them`,
    fix: "install the packages named above, or declare an archive that was built for this distribution",
  });
}

export async function readInstallFacts(install: LightningdInstall): Promise<InstallFacts> {
  const entries = await readEntries([INSTALLATIONS, LIGHTNINGD.programs]);
  const places = { installations: entries.get(INSTALLATIONS), programs: entries.get(LIGHTNINGD.programs) };
  if (install.kind === "preinstalled") return { ...places, ...(await readPreinstalled(install.path)) };
  const tree = await readTree(treeOf(install));
  const unpacked = { ...places, kind: "unpacked", tree } as const;
  if (tree.state === "ok") return unpacked;
  if (install.kind === "release")
    return { ...unpacked, system: { architecture: process.arch, glibc: await readGlibc() } };
  if (!install.source.startsWith("/")) return unpacked;
  return {
    ...unpacked,
    archive: { sha256: (await exists(install.source)) ? await sha256Of(install.source) : undefined },
  };
}

async function readPreinstalled(path: string) {
  if (!(await exists(path))) return { kind: "preinstalled", found: "missing" } as const;
  if (!(await isExecutableFile(path))) return { kind: "preinstalled", found: "not executable" } as const;
  const missingLibraries = await findMissingLibraries([path]);
  const version = missingLibraries.length > 0 ? "unknown" : (await run(path, ["--version"])).stdout.trim();
  const missingPrograms: string[] = [];
  for (const name of PROGRAMS) if (!(await isExecutableFile(join(dirname(path), name)))) missingPrograms.push(name);
  return { kind: "preinstalled", found: "ok", version, missingLibraries, missingPrograms } as const;
}

export function installItems(install: LightningdInstall): ItemName[] {
  const program: ItemName = install.kind === "preinstalled" ? `program:${install.path}` : `program:${treeOf(install)}`;
  return [`directory:${INSTALLATIONS}`, program, `symlink:${LIGHTNINGD.programs}`];
}

export function planInstall(facts: InstallFacts, install: LightningdInstall): (CommonAction | InstallAction)[] {
  if (install.kind === "preinstalled") refusePreinstalled(facts, install.path);
  const broken = install.kind !== "preinstalled" && facts.kind === "unpacked" && facts.tree.state !== "ok";
  return [
    ...planDirectory(INSTALLATIONS, facts.installations, ROOT_DIRECTORY),
    ...(broken ? [planUnpack(facts, install)] : []),
    ...planSymlink(LIGHTNINGD.programs, facts.programs, programsOf(install)),
  ];
}

function refusePreinstalled(facts: InstallFacts, path: string): void {
  if (facts.kind !== "preinstalled") return;
  if (facts.found !== "ok")
    throw new Refusal({
      code: "lightningd-preinstalled",
      what: `the preinstalled lightningd is ${facts.found}`,
      received: path,
      why: "the topology says that it is on the host already",
      fix: "install Core Lightning there, correct the path, or declare { release } or { archive, sha256 }",
    });
  refuseMissingLibraries(path, facts.missingLibraries);
  // "v26.06.6", "v26.06.6-12-gabc1234" or "abc1234-modded": one word, and no other program's says just that.
  if (!/^\S*\d\S*$/.test(facts.version) || facts.missingPrograms.length > 0)
    throw new Refusal({
      code: "lightningd-preinstalled",
      what: "the preinstalled lightningd is no Core Lightning",
      received:
        facts.missingPrograms.length > 0
          ? `${path} without ${facts.missingPrograms.join(", ")} beside it`
          : `${path}, which answers --version with '${facts.version.split("\n")[0]}'`,
      why: "another program would be started as the node, and the gate reads hsm_secret with lightning-hsmtool",
      fix: "give the path of lightningd in an installation of Core Lightning, or declare { release } or { archive, sha256 }",
    });
}

function planUnpack(facts: Extract<InstallFacts, { kind: "unpacked" }>, install: Unpacked): InstallAction {
  if (install.kind === "archive" && facts.archive) {
    if (facts.archive.sha256 === undefined)
      throw new Refusal({
        code: "lightningd-archive-missing",
        what: "lightningd's archive is not on the host",
        received: install.source,
        why: "there is nothing to unpack",
        fix: "run `pulumi up`, which copies it there",
      });
    refuseChecksum(install.source, facts.archive.sha256, install.sha256, "the declared sha256");
  }
  if (facts.system && install.kind === "release")
    releaseFiles(install.version, facts.system.architecture, facts.system.glibc);
  const tree = treeOf(install);
  const from = install.kind === "archive" ? install.source : `the signed release ${install.version}`;
  const because =
    facts.tree.state === "damaged" ? ` (changed since: ${facts.tree.changed.slice(0, 5).join(", ")})` : "";
  return {
    kind: "lightningd/install",
    item: `program:${tree}`,
    summary: `unpack lightningd from ${from} to ${tree}${because}`,
  };
}

function refuseChecksum(source: string, received: string, wanted: string, where: string): void {
  if (received === wanted) return;
  throw new Refusal({
    code: "lightningd-checksum",
    what: `the checksum of lightningd's archive ${source} is wrong; nothing was unpacked`,
    received: `sha256 ${received}, not ${wanted} (${where})`,
    why: "it is not the archive that was meant: a damaged download, another version, or a forgery",
    fix: "compare the checksum with its publisher's; if the archive is right, correct the declared one",
  });
}

/** Carries out {@link InstallAction}. `libpq`: the programs have to be linked with it. A run that was killed leaves a directory `.install-…`, which the next one removes. */
export async function applyInstall(
  install: LightningdInstall,
  { libpq }: { libpq: boolean },
  context: ApplyContext,
): Promise<void> {
  if (install.kind === "preinstalled") return;
  for (const name of await readdir(INSTALLATIONS))
    if (name.startsWith(".install-")) await rm(join(INSTALLATIONS, name), { recursive: true });
  const work = await mkdtemp(join(INSTALLATIONS, ".install-"));
  try {
    const archive =
      install.kind === "archive"
        ? await fetchArchive(install, work, context)
        : await fetchRelease(install, work, context);
    const tree = await unpack(archive, work, context);
    // Before it is in use: a node that runs is not to be restarted with programs that can't start.
    if (libpq && (await lacksLibpq(join(tree, "usr/bin/lightningd")))) throw withoutLibpq("lightningd");
    const note = libpq ? libpqNote(await libpqMajor(join(tree, "usr/bin/lightningd"))) : undefined;
    if (note !== undefined) context.progress(note);
    await moveIntoPlace(tree, treeOf(install), work);
    await removeOlder(treeOf(install));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function fetchArchive(
  install: Extract<Unpacked, { kind: "archive" }>,
  work: string,
  context: ApplyContext,
): Promise<string> {
  const local = install.source.startsWith("/");
  const archive = local ? install.source : join(work, "archive");
  if (!local) await download(install.source, archive, context);
  refuseChecksum(install.source, await sha256Of(archive), install.sha256, "the declared sha256");
  return archive;
}

async function fetchRelease(
  install: Extract<Unpacked, { kind: "release" }>,
  work: string,
  context: ApplyContext,
): Promise<string> {
  const names = releaseFiles(install.version, process.arch, await readGlibc());
  const keyring = await readSigningKey(install, work);
  const [checksums, signature, archive] = [
    join(work, "SHA256SUMS"),
    join(work, "SHA256SUMS.asc"),
    join(work, "archive"),
  ];
  const base = install.baseUrl.replace(/\/+$/, "");
  await download(`${base}/${names.checksums}`, checksums, context);
  await download(`${base}/${names.signature}`, signature, context);
  // gpgv fails also when only some of the signers are known: what counts is what it says of ours.
  const { stdout: status } = await run("gpgv", ["--status-fd", "1", "--keyring", keyring, signature, checksums]);
  const problem = judgeSignature(status, install.fingerprint);
  if (problem)
    throw new Refusal({
      code: "release-signature",
      what: `the checksums of Core Lightning ${install.version} are not signed by the declared key; nothing was unpacked`,
      received: `${base}/${names.signature}: ${problem}`,
      why: "only the signature tells a release from a forgery",
      fix: `compare fingerprint ${install.fingerprint} with the one that the release was announced with, and renew the key file if the key was extended`,
    });
  const wanted = parseChecksum(await readFile(checksums, "utf8"), names.archive);
  if (!wanted)
    throw new Refusal({
      code: "release-checksum-missing",
      what: `the signed checksums of Core Lightning ${install.version} don't list its archive`,
      received: `${base}/${names.checksums} without ${names.archive}`,
      why: "an archive without a signed checksum can't be told from a forgery",
      fix: "check the version and the base URL",
    });
  await download(`${base}/${names.archive}`, archive, context);
  refuseChecksum(`${base}/${names.archive}`, await sha256Of(archive), wanted, `signed by ${install.fingerprint}`);
  return archive;
}

/** The declared key as a keyring for gpgv, after its fingerprint was compared. */
async function readSigningKey(install: Extract<Unpacked, { kind: "release" }>, work: string): Promise<string> {
  const gpg = ["--homedir", work, "--batch", "--no-autostart"];
  const shown = await run("gpg", [...gpg, "--show-keys", "--with-colons", install.keyFile]);
  const fingerprints = parsePrimaryFingerprints(shown.stdout);
  if (fingerprints.length !== 1 || fingerprints[0] !== install.fingerprint)
    throw new Refusal({
      code: "release-key",
      what: "the release key's file does not hold exactly the key with the declared fingerprint",
      received: `${install.keyFile}: ${fingerprints.join(", ") || "no key"}; declared: ${install.fingerprint}`,
      why: "whoever can change the file could sign a forgery",
      fix: "export that one key: gpg --armor --export FINGERPRINT",
    });
  const keyring = join(work, "release-key.gpg");
  // --yes: GnuPG refuses to overwrite, and there is nobody to ask.
  await must("gpg", [...gpg, "--yes", "--output", keyring, "--dearmor", install.keyFile]);
  return keyring;
}

async function download(url: string, target: string, context: ApplyContext): Promise<void> {
  context.progress(`downloading ${url}`);
  // A redirect must not lead to plain http. `file:` is for release files that were carried to a host without internet.
  const limits = ["--connect-timeout", "30", "--speed-limit", "1024", "--speed-time", "60", "--retry", "3"];
  const scheme = ["--proto", "=https,file", "--proto-redir", "=https"];
  const options = ["--fail", "--location", "--silent", "--show-error", ...scheme, ...limits, "--output", target];
  const { status, stderr } = await run("curl", [...options, url]);
  if (status === 0) return;
  throw new Refusal({
    code: "lightningd-download",
    what: "a file of lightningd's installation could not be downloaded; nothing was unpacked",
    received: `${url}: ${stderr.trim() || `curl ended with status ${status}`}`,
    why: "without it there is no lightningd to run",
    fix: "check the URL and the host's way to it, then run `pulumi up` again",
  });
}

async function unpack(archive: string, work: string, context: ApplyContext): Promise<string> {
  context.progress(`unpacking ${archive}`);
  const tree = join(work, "tree");
  await mkdir(tree, { mode: 0o755 });
  await must("tar", ["--extract", "--no-same-owner", "--no-same-permissions", "--file", archive, "--directory", tree]);
  const programs = PROGRAMS.map((name) => join(tree, "usr/bin", name));
  for (const program of programs)
    if (!(await isExecutableFile(program)))
      throw new Refusal({
        code: "lightningd-layout",
        what: "the archive is not laid out like a Core Lightning release",
        received: `no program ${program.slice(tree.length + 1)} in it`,
        why: "lightningd looks for its parts in ../libexec/c-lightning, seen from its own directory",
        fix: "pack usr/bin and usr/libexec/c-lightning at the top of the archive",
      });
  refuseMissingLibraries("lightningd", await findMissingLibraries(await executablesIn(join(tree, "usr"))));
  const [lightningd = ""] = programs;
  const version = await readVersion(lightningd);
  context.progress(`lightningd says it is ${version}`);
  await writeManifest(tree, version);
  await must("sync", ["--file-system", tree]);
  return tree;
}

async function moveIntoPlace(tree: string, place: string, work: string): Promise<void> {
  // A damaged tree goes away with the work directory.
  if (await exists(place)) await rename(place, join(work, "damaged"));
  await rename(tree, place);
  await syncDirectory(INSTALLATIONS);
}

/** Keeps the installation in use beside the new one: a running lightningd starts its subdaemons from there, and it is the way back. */
async function removeOlder(place: string): Promise<void> {
  const inUse = await readlink(LIGHTNINGD.programs).catch(() => "");
  for (const name of await readdir(INSTALLATIONS)) {
    const path = join(INSTALLATIONS, name);
    if (!name.startsWith(TREE_PREFIX) || path === place || inUse.startsWith(`${path}/`)) continue;
    await rm(path, { recursive: true });
  }
}

async function executablesIn(directory: string): Promise<string[]> {
  const paths = (await readdir(directory, { recursive: true })).map((name) => join(directory, name));
  const executable = await Promise.all(paths.map(isExecutableFile));
  return paths.filter((_, index) => executable[index]);
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

async function isExecutableFile(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
