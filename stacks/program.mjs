/**
 * What Pulumi starts. JavaScript, because an older Node would say of TypeScript only that it does not know the file's extension.
 */
import module from "node:module";
import { join } from "node:path";
import { RunError } from "@pulumi/pulumi";
import { cacheDirectory } from "../scripts/setup/environment.mjs";

/** The first Node that runs TypeScript as it is (nodejs.org/api/typescript.html). */
const NEEDED = { major: 22, minor: 18 };

export default async function program() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major < NEEDED.major || (major === NEEDED.major && minor < NEEDED.minor)) {
    throw new RunError(
      [
        "NODE_TOO_OLD: the Node that Pulumi found can't run this program",
        `  received: ${process.execPath}, version ${process.versions.node}`,
        `  why: the program is TypeScript, which Node runs by itself from ${NEEDED.major}.${NEEDED.minor} on`,
        "  to do: use 'npx pulumi', which takes the project's own Node, or put a newer Node first on PATH",
      ].join("\n"),
    );
  }
  // As ./twofold does: loading the program takes a third less time. A directory that can't be written to is no error.
  module.enableCompileCache(join(cacheDirectory(), "node"));
  const { default: twofold } = await import("./index.ts");
  return twofold();
}
