/**
 * `node scripts/standins/lightningd/pack.ts OUT.tar.xz [--node PATH] [--chain-backend FILE]`
 *
 * Makes the lab daemon's archive, laid out like Core Lightning's releases; the same sources give the same bytes. Its programs are run by
 * the Node 24 at PATH (default: where the lab's hosts have it). FILE becomes the chain backend plugin for the real lightningd.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { build } from "esbuild";

/** Where the lab bind-mounts Node 24 inside its hosts (node:sqlite is not in Debian 13's Node 20). */
const LAB_NODE = "/usr/local/lib/twofold-lab/node";
const PROGRAMS = ["lightningd", "lightning-cli", "lightning-hsmtool"];
const HERE = import.meta.dirname;

async function bundle(program: string, out: string, node: string): Promise<void> {
  mkdirSync(dirname(out), { recursive: true });
  const unfinished = `${out}.unfinished`;
  await build({
    // Fixed, so that the paths in the bundle's comments don't depend on the caller's directory.
    absWorkingDir: HERE,
    entryPoints: [join(HERE, `${program}.ts`)],
    bundle: true,
    platform: "node",
    target: "node20",
    // A file without an extension and without a package.json is CommonJS to Node.
    format: "cjs",
    banner: { js: `#!${node}` },
    logLevel: "error",
    outfile: unfinished,
  });
  chmodSync(unfinished, 0o755);
  renameSync(unfinished, out);
}

async function pack(out: string, node: string): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "twofold-pack-"));
  try {
    for (const program of PROGRAMS) await bundle(program, join(root, "usr/bin", program), node);
    mkdirSync(join(root, "usr/libexec/c-lightning/plugins"), { recursive: true });
    execFileSync("chmod", ["-R", "u=rwX,go=rX", root]);
    mkdirSync(dirname(resolve(out)), { recursive: true });
    const unfinished = `${resolve(out)}.unfinished`;
    const reproducible = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--format=ustar"];
    execFileSync("tar", [...reproducible, "-cJf", unfinished, "-C", root, "usr"], {
      env: { ...process.env, XZ_OPT: "-6 -T1" },
    });
    renameSync(unfinished, resolve(out));
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { node: { type: "string", default: LAB_NODE }, "chain-backend": { type: "string" } },
});
const [out] = positionals;
if (out === undefined || positionals.length > 1) {
  process.stderr.write("usage: pack.ts OUT.tar.xz [--node PATH] [--chain-backend FILE]\n");
  process.exit(1);
}
await pack(out, values.node);
if (values["chain-backend"] !== undefined) await bundle("chain-backend", resolve(values["chain-backend"]), values.node);
