/** Bundles the writer into one file that runs on a host with the distribution's Node 20. */
import { join } from "node:path";
import { build } from "esbuild";

export async function bundleWriter(out: string): Promise<void> {
  await build({
    absWorkingDir: import.meta.dirname,
    entryPoints: [join(import.meta.dirname, "writer.ts")],
    bundle: true,
    platform: "node",
    target: "node20",
    format: "esm",
    logLevel: "error",
    outfile: out,
  });
}
