/**
 * The part of a lab's set-up that reads YAML, so it needs the project's packages and Node 24. Its caller is lab-up.mjs:
 *
 * `lab-config.ts read LABFILE` prints the lab's hosts and disks as JSON;
 * `lab-config.ts write LABFILE OUT` takes what set-up decided as JSON on stdin and writes the stack's config.
 */
import { existsSync, readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { LineCounter, parse, parseDocument, stringify } from "yaml";
import type { z } from "zod";
import { type LabConfig, type LabFile, labFileSchema } from "../../stacks/lab-schema.ts";
import { writeAtomically } from "./files.mjs";

/** What only set-up knows of a lab. */
export interface LabFacts {
  lab: LabConfig;
  /** Public host keys by host, "ssh-ed25519 AAAA…". */
  hostKeys: Record<string, string>;
  /** The operator's private key. */
  identityFile: string;
  /** lightningd's archive on this machine. */
  archive: string;
  sha256: string;
  /** Absolute path, in the hosts, of the plugin that answers for a chain. */
  chainBackend: string;
  /** Of Pulumi's passphrase, if the stack's config has none yet. */
  encryptionSalt: string;
}

/**
 * Reads a lab file.
 * @throws {Error} with the place in the file.
 */
export function parseLabFile(source: string, file: string): LabFile {
  const lines = new LineCounter();
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false });
  const error = document.errors[0];
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0]);
    throw new Error(`${file}:${line}:${col} is not YAML: ${error.message}`);
  }
  const result = labFileSchema.safeParse(document.toJS());
  if (!result.success) throw new Error(`${file} is no lab file: ${result.error.issues.map(tell).join("; ")}`);
  return result.data;
}

function tell(issue: z.core.$ZodIssue): string {
  // Of a key that can't be used, the reason lies one level deeper.
  const message = issue.code === "invalid_key" ? issue.issues[0]?.message : issue.message;
  return `${issue.path.map(String).join(".") || "at the top"}: ${message}`;
}

/** "512MiB" in bytes. */
export function bytesOf(size: string): number {
  return Number.parseInt(size, 10) * (size.endsWith("GiB") ? 2 ** 30 : 2 ** 20);
}

/** The stack's config: the lab file's own, and what only set-up knows. */
export function stackConfig(file: LabFile, facts: LabFacts): Record<string, unknown> {
  const hosts = mapping(file.config["twofold:hosts"]);
  const node = mapping(file.config["twofold:node"]);
  const options = mapping(node.options);
  return {
    ...file.config,
    "twofold:hosts": Object.fromEntries(
      Object.entries(facts.lab.hosts).map(([name, { sshPort }]) => [
        name,
        {
          ...mapping(hosts[name]),
          address: "127.0.0.1",
          port: sshPort,
          hostKey: facts.hostKeys[name],
          identityFile: facts.identityFile,
          // The other hosts meet it on the lab's network, under its name.
          peerAddress: name,
          peerPort: 22,
        },
      ]),
    ),
    "twofold:node": {
      ...node,
      lightningd: { archive: facts.archive, sha256: facts.sha256 },
      options: { ...options, "disable-plugin": "bcli", plugin: facts.chainBackend },
    },
    "twofold:lab": facts.lab,
  };
}

function mapping(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

/** The file that Pulumi reads; a salt that is already in it is kept, since the stack's secrets are encrypted with it. */
export function renderStackFile(config: Record<string, unknown>, before: string | undefined, salt: string): string {
  const kept = before === undefined ? undefined : parse(before)?.encryptionsalt;
  return `# Written by \`npm run lab\`.\n${stringify({ encryptionsalt: kept ?? salt, config })}`;
}

async function main([action, labFile, out]: string[]): Promise<void> {
  if (labFile === undefined) throw new Error("usage: lab-config.ts read|write LABFILE [OUT]");
  const file = parseLabFile(readFileSync(labFile, "utf8"), labFile);
  if (action === "read") {
    const hosts = Object.entries(file.hosts).map(([name, { disks }]) => [
      name,
      Object.fromEntries(Object.entries(disks).map(([disk, size]) => [disk, bytesOf(size)])),
    ]);
    console.log(JSON.stringify({ description: file.description, hosts: Object.fromEntries(hosts) }));
    return;
  }
  if (action !== "write" || out === undefined) throw new Error("usage: lab-config.ts write LABFILE OUT");
  const facts = JSON.parse(await text(process.stdin)) as LabFacts;
  const before = existsSync(out) ? readFileSync(out, "utf8") : undefined;
  writeAtomically(out, renderStackFile(stackConfig(file, facts), before, facts.encryptionSalt));
}

if (import.meta.main) {
  try {
    await main(process.argv.slice(2));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
