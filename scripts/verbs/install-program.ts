/** Bringing the host program to a host without Pulumi: what bootstrap and CopyToRemote do in an `up`. */
import { readFile } from "node:fs/promises";
import { renderBootstrap } from "../../templates/bootstrap.ts";
import { bundleHostProgram } from "../host/build.ts";
import { PROGRAM_DIRECTORY } from "../host/contract.ts";
import { unexpected } from "./ask.ts";
import { type Host, runOnHost } from "./ssh.ts";

/**
 * Installs Node, the launcher and this version of the program; each step can be repeated.
 *
 * @throws {Failure} if the host can't be reached or refuses.
 */
export async function installProgram(host: Host, onProgress: (line: string) => void): Promise<void> {
  const { file, sha256 } = await bundleHostProgram();
  const target = `${PROGRAM_DIRECTORY}/host-${sha256}.mjs`;
  onProgress("installing Node and the launcher");
  const bootstrap = await runOnHost(host, "sh -s -- repair", { input: renderBootstrap(), onLine: onProgress });
  if (bootstrap.status !== 0) {
    throw unexpected(host, ["bootstrap"], bootstrap);
  }
  onProgress(`installing ${target}`);
  // Renamed into place: the launcher refuses half a file anyway, but units start from it too.
  const copy = await runOnHost(host, `cat >${target}.new && mv ${target}.new ${target}`, {
    input: await readFile(file),
  });
  if (copy.status !== 0) {
    throw unexpected(host, ["copy"], copy);
  }
}
