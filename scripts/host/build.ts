/** Makes the host program: one file for the distribution's Node, with the templates inside. */
import { createHash } from "node:crypto";
import { type Stats, statSync } from "node:fs";
import { access, constants, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import type { Plugin } from "esbuild";

export interface HostProgram {
  /** Absolute path on this machine: host-SHA256.mjs. */
  file: string;
  /** Of the file's content; 64 small hexadecimal digits. */
  sha256: string;
}

/** What the last build was made from, so that a build of the same sources is a few stat calls. */
interface Stamp extends HostProgram {
  inputs: Record<string, string>;
}

const root = fileURLToPath(new URL("../..", import.meta.url));
const templates = join(root, "templates");

/** Templates are the files of templates/ that are not TypeScript. */
async function templateNames(): Promise<string[]> {
  const entries = await readdir(templates, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && !entry.name.endsWith(".ts"))
    .map((entry) => relative(templates, join(entry.parentPath, entry.name)))
    .sort();
}

/** Replaces the reader in templates/load.ts by a map of the texts. */
const inlineTemplates: Plugin = {
  name: "inline-templates",
  setup(build) {
    build.onLoad({ filter: /[/\\]templates[/\\]load\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, "utf8");
      const reader = /function readTemplate\(name: string\): string \{.*?\n\}\n/s;
      if (!reader.test(source)) throw new Error("templates/load.ts has no readTemplate() that could be replaced");
      const texts: Record<string, string> = {};
      for (const name of await templateNames()) texts[name] = await readFile(join(templates, name), "utf8");
      const inlined = `const TEMPLATES: Record<string, string> = ${JSON.stringify(texts)};
function readTemplate(name: string): string {
  const text = TEMPLATES[name];
  if (text === undefined) throw new Error("there is no template " + name);
  return text;
}
`;
      return { contents: source.replace(/^import .*\n/m, "").replace(reader, () => inlined), loader: "ts" };
    });
  },
};

/** Changes whenever the file does: a checkout sets ctime, an editor all of them. */
function fingerprint(path: string): string {
  const { size, mtimeMs, ctimeMs, ino }: Stats = statSync(path);
  return [size, mtimeMs, ctimeMs, ino].join(" ");
}

/** SHA-256 of a file, or undefined if it can't be read. */
async function hashOf(path: string): Promise<string | undefined> {
  const content = await readFile(path).catch(() => undefined);
  return content && createHash("sha256").update(content).digest("hex");
}

/** How long an earlier bundle is kept: an `up` that was started with it must find it to its end. */
const KEPT_MS = 24 * 60 * 60 * 1000;

async function removeOld(directory: string, current: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    if (!/^host-[0-9a-f]{64}\.mjs$/.test(name) || path === current) continue;
    // Another build may have removed it just now.
    const found = statSync(path, { throwIfNoEntry: false });
    if (found !== undefined && Date.now() - found.mtimeMs > KEPT_MS) await rm(path, { force: true });
  }
}

async function isCurrent(stamp: Stamp): Promise<boolean> {
  try {
    const present = await templateNames();
    const built = Object.keys(stamp.inputs).filter((path) => path.startsWith("templates/") && !path.endsWith(".ts"));
    if (present.map((name) => `templates/${name}`).join() !== built.sort().join()) return false;
    for (const [path, was] of Object.entries(stamp.inputs)) if (fingerprint(join(root, path)) !== was) return false;
    return (await hashOf(stamp.file)) === stamp.sha256;
  } catch {
    return false;
  }
}

/** .build/ in the checkout; where that can't be written to, a directory of this process alone. */
async function outputDirectory(): Promise<string> {
  const directory = join(root, ".build");
  try {
    await mkdir(directory, { recursive: true });
    await access(directory, constants.W_OK);
    return directory;
  } catch {
    return mkdtemp(join(tmpdir(), "twofold-build-"));
  }
}

async function writeInPlace(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.${process.pid}`;
  await writeFile(temporary, content);
  await rename(temporary, path);
}

/**
 * Bundles scripts/host/main.ts. The same sources give the same bytes, on every machine. Two builds at once don't disturb
 * each other.
 */
export async function bundleHostProgram(): Promise<HostProgram> {
  const directory = await outputDirectory();
  const stampFile = join(directory, "host.json");
  const stamp = await readFile(stampFile, "utf8").then(
    (text) => JSON.parse(text) as Stamp,
    () => undefined,
  );
  if (stamp !== undefined && (await isCurrent(stamp))) return { file: stamp.file, sha256: stamp.sha256 };

  const { build } = await import("esbuild");
  const built = await build({
    absWorkingDir: root,
    entryPoints: ["scripts/host/main.ts"],
    bundle: true,
    write: false,
    metafile: true,
    platform: "node",
    // Debian 13 has Node 20, Debian 12 and Ubuntu 24.04 have 18.
    target: "node18",
    format: "esm",
    // Names stay readable in a stack trace; white space is what makes it long.
    minifyWhitespace: true,
    // Node prints the whole line that threw.
    lineLimit: 160,
    charset: "utf8",
    plugins: [inlineTemplates],
    logLevel: "silent",
  });
  const content = built.outputFiles[0]?.contents;
  if (content === undefined) throw new Error("esbuild made no output for scripts/host/main.ts");
  const sha256 = createHash("sha256").update(content).digest("hex");
  const file = join(directory, `host-${sha256}.mjs`);
  // A build beside this one may have written it already; the same name means the same bytes.
  if ((await hashOf(file)) !== sha256) await writeInPlace(file, content);
  await removeOld(directory, file);

  const inputs = [...Object.keys(built.metafile.inputs), ...(await templateNames()).map((name) => `templates/${name}`)];
  const next: Stamp = {
    file,
    sha256,
    inputs: Object.fromEntries(inputs.map((path) => [path, fingerprint(join(root, path))])),
  };
  await writeInPlace(stampFile, JSON.stringify(next));
  return { file, sha256 };
}
