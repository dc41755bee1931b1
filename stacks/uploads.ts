/** The operator's own file for lightningd: what is wrong with it is told before anything is copied to a host. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { operatorPath } from "../components/topology/operator-path.ts";
import { uploadOf } from "../components/topology/places.ts";
import type { Topology } from "../components/topology/schema.ts";
import { Refusal } from "../scripts/host/stage.ts";

/** @throws {Refusal} if the file can't be read, or is an archive with another checksum than the declared one. */
export function checkUpload(topology: Topology): void {
  const upload = uploadOf(topology);
  if (upload === undefined) return;
  const { lightningd } = topology.node;
  const file = operatorPath(upload.file);
  const content = read(file, "release" in lightningd ? "keyFile" : "archive");
  if (!("sha256" in lightningd)) return;
  const received = createHash("sha256").update(content).digest("hex");
  if (received === lightningd.sha256) return;
  throw new Refusal({
    code: "LIGHTNINGD_FILE_CHECKSUM",
    what: `the archive of lightningd has another checksum than the declared one: ${file}`,
    received: `${received}, not ${lightningd.sha256}`,
    why: "it is not the archive that was meant: a damaged download, another version, or a forgery",
    fix: "compare the checksum with its publisher's; if the archive is right, correct twofold:node.lightningd.sha256",
  });
}

function read(file: string, key: "archive" | "keyFile"): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new Refusal({
      code: "LIGHTNINGD_FILE_MISSING",
      what: `the file that twofold:node.lightningd.${key} names can't be read`,
      received: `${file}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`,
      why: "it is copied from this machine to the node's host",
      fix: "correct the path (a relative one starts at the project's folder), or put the file there",
    });
  }
}
