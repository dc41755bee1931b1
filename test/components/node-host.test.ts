import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import test from "ava";
import { connectionOf, hostKeyFingerprint, isPassphraseProtected } from "../../components/connection.ts";
import { NodeHost } from "../../components/node-host.ts";
import { hostSchema } from "../../components/topology/schema.ts";
import { Refusal } from "../../scripts/host/stage.ts";
import { scratchDirectory } from "../helpers/scratch.ts";
import { isSecret, only, plain, record } from "./recorder.ts";

const directory = scratchDirectory();
const identityFile = join(directory, "key");
execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", identityFile]);
const locked = join(directory, "locked");
execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "a passphrase", "-f", locked]);
const publicKey = (file: string) => readFileSync(`${file}.pub`, "utf8").split(" ").slice(0, 2).join(" ");
const hostKey = publicKey(identityFile);
const program = join(directory, "host.mjs");
writeFileSync(program, "// the program");

const spec = hostSchema.parse({ address: "192.0.2.10", port: 2222, hostKey, identityFile });
const args = { hostName: "alice", spec, program: { file: program, sha256: "ab12" }, bootstrapScript: "echo ready" };

test.serial("a host is bootstrapped over a pinned connection, then gets its program", async (t) => {
  const registered = await record(() => new NodeHost("alice", args));
  const host = only(registered, "alice");
  const bootstrap = only(registered, "alice-bootstrap");
  const copy = only(registered, "alice-program");

  t.is(host.type, "twofold:host:NodeHost");
  t.is(bootstrap.type, "command:remote:Command");
  t.is(bootstrap.parent, host.urn);
  t.is(bootstrap.inputs.create, `sh -s -- ${hostKeyFingerprint(hostKey)}`);
  t.is(bootstrap.inputs.stdin, "echo ready");
  t.is(bootstrap.inputs.addPreviousOutputInEnv, false);
  t.false("triggers" in bootstrap.inputs);
  t.false("delete" in bootstrap.inputs);

  t.is(copy.type, "command:remote:CopyToRemote");
  t.is(copy.parent, host.urn);
  t.is(copy.inputs.remotePath, "/usr/local/lib/twofold/host-ab12.mjs");
  t.deepEqual(copy.inputs.triggers, [hostKeyFingerprint(hostKey), "ab12"]);
  t.deepEqual(copy.dependencies, [bootstrap.urn]);

  for (const { inputs } of [bootstrap, copy]) {
    const connection = plain(inputs.connection) as Record<string, unknown>;
    t.true(isSecret(inputs.connection) || isSecret(connection.privateKey));
    t.is(connection.host, "192.0.2.10");
    t.is(connection.port, 2222);
    t.is(connection.user, "root");
    t.is(connection.hostKey, hostKey);
    t.is(plain(connection.privateKey), readFileSync(identityFile, "utf8"));
  }
});

test.serial("a machine that the stack makes is what everything on it depends on, and is deleted with", async (t) => {
  const registered = await record(() => {
    const container = new pulumi.ComponentResource("test:index:Container", "container");
    return new NodeHost("alice", { ...args, made: { machine: "c0ffee", resource: container } });
  });
  const container = only(registered, "container");
  const bootstrap = only(registered, "alice-bootstrap");
  const copy = only(registered, "alice-program");
  t.is(bootstrap.inputs.create, "sh -s -- c0ffee");
  t.deepEqual(copy.inputs.triggers, ["c0ffee", "ab12"]);
  t.deepEqual([bootstrap.deletedWith, copy.deletedWith], [container.urn, container.urn]);
});

test.serial("another host key is another machine: the program's trigger changes with it", async (t) => {
  const other = join(directory, "other");
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", other]);
  const otherKey = publicKey(other);
  const triggers = async (key: string) =>
    only(await record(() => new NodeHost("alice", { ...args, spec: { ...spec, hostKey: key } })), "alice-program")
      .inputs.triggers;
  t.deepEqual(await triggers(hostKey), await triggers(hostKey));
  t.notDeepEqual(await triggers(hostKey), await triggers(otherKey));
});

test("the fingerprint is the one that ssh-keygen prints", (t) => {
  const printed = execFileSync("ssh-keygen", ["-lf", `${identityFile}.pub`], { encoding: "utf8" });
  t.is(printed.split(" ")[1], hostKeyFingerprint(hostKey));
});

test.serial("without identityFile the agent is asked, and its socket is no part of the connection", (t) => {
  const before = process.env.SSH_AUTH_SOCK;
  t.teardown(() => {
    if (before === undefined) {
      delete process.env.SSH_AUTH_SOCK;
    } else {
      process.env.SSH_AUTH_SOCK = before;
    }
  });
  const { identityFile: _, ...agentSpec } = spec;
  process.env.SSH_AUTH_SOCK = "/tmp/agent.1";
  const first = connectionOf("alice", agentSpec);
  process.env.SSH_AUTH_SOCK = "/tmp/agent.2";
  t.deepEqual(connectionOf("alice", agentSpec), first);
  t.false("privateKey" in first);

  delete process.env.SSH_AUTH_SOCK;
  const error = t.throws(() => connectionOf("alice", agentSpec), { instanceOf: Refusal });
  t.regex(error.message, /no SSH key.*alice[\s\S]*to do: start an SSH agent/);
});

test("refuses a private key that can't be used, and says what is wrong with it", (t) => {
  const refused = (file: string) =>
    t.throws(() => connectionOf("alice", { ...spec, identityFile: file }), { instanceOf: Refusal }).message;
  t.regex(refused(join(directory, "absent")), /ENOENT[\s\S]*identityFile/);
  t.regex(refused(`${identityFile}.pub`), /not a private key[\s\S]*without '\.pub'/);
  t.regex(refused(locked), /passphrase[\s\S]*ssh-add/);
});

test("tells a key under a passphrase from one without, in both of OpenSSH's formats", (t) => {
  const pem = join(directory, "pem");
  execFileSync("ssh-keygen", ["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "a passphrase", "-f", pem]);
  t.true(isPassphraseProtected(readFileSync(pem, "utf8")));
  t.true(isPassphraseProtected(readFileSync(locked, "utf8")));
  t.false(isPassphraseProtected(readFileSync(identityFile, "utf8")));
});
