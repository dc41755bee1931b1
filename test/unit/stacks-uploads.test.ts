import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { parseTopology } from "../../components/topology/parse.ts";
import { formatProblems } from "../../components/topology/problem.ts";
import type { Topology } from "../../components/topology/schema.ts";
import { checkUpload } from "../../stacks/uploads.ts";
import { keyed, sshfsConfig } from "../helpers/topologies.ts";

const directory = mkdtempSync(join(tmpdir(), "twofold-uploads-"));
test.after.always(() => rmSync(directory, { recursive: true }));

const archive = join(directory, "lightningd.tar.xz");
writeFileSync(archive, "an archive");
const sha256 = createHash("sha256").update("an archive").digest("hex");

function topologyOf(lightningd: Record<string, string>): Topology {
  const config = sshfsConfig();
  config.node.lightningd = lightningd;
  const parsed = parseTopology(keyed(config), "test");
  if (!parsed.ok) throw new Error(formatProblems(parsed.problems));
  return parsed.topology;
}

test("takes the archive that was declared, and what the host has or fetches itself", (t) => {
  t.notThrows(() => checkUpload(topologyOf({ archive, sha256 })));
  t.notThrows(() => checkUpload(topologyOf({ archive: "https://example.org/lightningd.tar.xz", sha256 })));
  t.notThrows(() => checkUpload(topologyOf({ preinstalled: "/usr/bin/lightningd" })));
});

test("refuses an archive with another checksum, and shows both", (t) => {
  const wanted = "f".repeat(64);
  t.throws(() => checkUpload(topologyOf({ archive, sha256: wanted })), {
    message: new RegExp(`LIGHTNINGD_FILE_CHECKSUM: .*${archive}\\n +received: ${sha256}, not ${wanted}`),
  });
});

test("refuses an archive or a release's key that is not there, with its path and its place in the config", (t) => {
  const missing = join(directory, "missing");
  t.throws(() => checkUpload(topologyOf({ archive: missing, sha256 })), {
    message: new RegExp(`LIGHTNINGD_FILE_MISSING: .*lightningd\\.archive .*\\n +received: ${missing}: ENOENT`),
  });
  const release = { release: "v26.06.6", keyFile: missing, fingerprint: "A".repeat(40) };
  t.throws(() => checkUpload(topologyOf(release)), {
    message: new RegExp(`LIGHTNINGD_FILE_MISSING: .*lightningd\\.keyFile .*\\n +received: ${missing}: ENOENT`),
  });
});
