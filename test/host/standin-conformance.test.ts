/**
 * One suite for the stand-ins and for Pulumi's own plugins, driven through the real engine: what twofold builds on must be
 * the same with either. TWOFOLD_OFFICIAL_PLUGINS=DIR, a directory with pulumi-resource-command (1.2.1) and
 * pulumi-resource-docker (5.0.0), runs it against those too.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { basename, dirname, join } from "node:path";
import test, { type ExecutionContext } from "ava";
import Docker from "dockerode";
import { type Declaration, type Outcome, Project } from "./standin-project.ts";
import { SshHost } from "./standin-ssh-host.ts";

const STANDINS = ["command", "docker"].map((name) => join(import.meta.dirname, "../../scripts/standins", name));
const official = process.env.TWOFOLD_OFFICIAL_PLUGINS;
const SUBJECTS = [
  { subject: "stand-in", plugins: STANDINS },
  ...(official === undefined ? [] : [{ subject: "official", plugins: [official] }]),
];

interface Bench {
  project: Project;
  host: SshHost;
}

/** Runs `body` for every subject, each with a project and an SSH host of its own. */
function conformance(title: string, body: (t: ExecutionContext, bench: Bench) => Promise<void>): void {
  for (const { subject, plugins } of SUBJECTS) {
    test.serial(`${subject}: ${title}`, async (t) => {
      const host = new SshHost();
      t.teardown(() => host.remove());
      await host.start();
      const project = await Project.make(plugins);
      t.teardown(() => project.remove());
      await body(t, { project, host });
    });
  }
}

function remoteCommand(host: SshHost, inputs: Record<string, unknown>, name = "cmd"): Declaration {
  return { kind: "Command", name, inputs: { connection: host.connection, ...inputs } };
}

function succeeded(t: ExecutionContext, outcome: Outcome): Outcome {
  t.true(outcome.ok, outcome.text);
  return outcome;
}

const commandsOf = (host: SshHost): string[] => host.ran.map(({ command }) => command);
const stepsOf = (outcome: Outcome): string[] => outcome.steps.map(({ op, name }) => `${op} ${name}`);
const shown = (outcome: Outcome): string[] => outcome.messages.filter((m) => m.ephemeral).map((m) => m.text);

conformance(
  "a command runs once, gets stdin, and its output is recorded without the last newline",
  async (t, { project, host }) => {
    const declared = remoteCommand(host, { create: "cat; echo; echo problem >&2", stdin: "hello\n" });
    const first = succeeded(t, await project.up(declared));
    t.deepEqual(stepsOf(first), ["create cmd"]);
    t.true(shown(first).includes("hello"), "lines are shown while the command runs");
    t.true(shown(first).includes("problem"));
    const made = (await project.state()).resources.get("cmd");
    t.is(made?.outputs.stdout, "hello\n");
    t.is(made?.outputs.stderr, "problem");
    t.regex(made?.id ?? "", /^cmd[0-9a-f]{8}$/);

    const connections = host.connections;
    const second = succeeded(t, await project.up(declared));
    t.deepEqual(stepsOf(second), ["same cmd"]);
    t.is(host.connections, connections, "an up without a change makes no SSH login");
    await host.stop();
    succeeded(t, await project.up(declared));
    succeeded(t, await project.refresh());
  },
);

conformance(
  "a changed stdin runs create again as an update, with the previous output in the environment",
  async (t, { project, host }) => {
    const declare = (stdin: unknown, more = {}): Declaration =>
      remoteCommand(host, { create: "cat", stdin: JSON.stringify(stdin), ...more });
    succeeded(t, await project.up(declare({ volume: { profile: "raid1" } })));
    const id = (await project.state()).resources.get("cmd")?.id;

    const plainPreview = succeeded(t, await project.preview(declare({ volume: { profile: "raid1c3" } })));
    t.regex(plainPreview.text, /\[diff: ~stdin\]/);
    const diff = succeeded(t, await project.previewDiff(declare({ volume: { profile: "raid1c3" } })));
    t.regex(diff.text, /~ profile: "raid1" => "raid1c3"/);
    t.is(host.ran.length, 1, "a preview runs nothing");

    const update = succeeded(t, await project.up(declare({ volume: { profile: "raid1c3" } })));
    t.deepEqual(stepsOf(update), ["update cmd"]);
    t.deepEqual(host.ran[1], { command: "cat", env: { PULUMI_COMMAND_STDOUT: '{"volume":{"profile":"raid1"}}' } });
    t.is((await project.state()).resources.get("cmd")?.id, id);

    succeeded(t, await project.up(declare({ volume: { profile: "raid10" } }, { addPreviousOutputInEnv: false })));
    t.deepEqual(host.ran[2], { command: "cat", env: {} });
  },
);

conformance("update runs instead of create when it is given", async (t, { project, host }) => {
  const declare = (stdin: string): Declaration =>
    remoteCommand(host, {
      create: "cat >created",
      update: "cat >updated; echo updated",
      stdin,
      addPreviousOutputInEnv: false,
    });
  succeeded(t, await project.up(declare("1")));
  succeeded(t, await project.up(declare("2")));
  t.deepEqual(commandsOf(host), ["cat >created", "cat >updated; echo updated"]);
  t.is((await project.state()).resources.get("cmd")?.outputs.stdout, "updated");
});

conformance("changed triggers replace: the new create runs before the old delete", async (t, { project, host }) => {
  const declare = (trigger: string): Declaration =>
    remoteCommand(host, { create: `echo start ${trigger}`, delete: `echo stop ${trigger}`, triggers: [trigger] });
  succeeded(t, await project.up(declare("a")));
  const before = (await project.state()).resources.get("cmd")?.id;
  const outcome = succeeded(t, await project.up(declare("b")));
  t.deepEqual(stepsOf(outcome), ["create-replacement cmd", "replace cmd", "delete-replaced cmd"]);
  t.deepEqual(commandsOf(host), ["echo start a", "echo start b", "echo stop a"]);
  t.not((await project.state()).resources.get("cmd")?.id, before);
});

conformance("delete runs with the recorded inputs, and fails when the host is gone", async (t, { project, host }) => {
  const declared = remoteCommand(host, { create: "echo on", delete: "echo off" });
  succeeded(t, await project.up(declared));
  await host.stop();
  const gone = await project.destroy();
  t.false(gone.ok);
  t.regex(gone.text, /after 1 failed attempts/);
  t.is((await project.state()).resources.size, 1, "the resource stays");
  await host.start();
  succeeded(t, await project.destroy());
  t.deepEqual(host.ran[1], { command: "echo off", env: { PULUMI_COMMAND_STDOUT: "on" } });
  t.is((await project.state()).resources.size, 0);
});

conformance("a command without delete is destroyed without a login", async (t, { project, host }) => {
  succeeded(t, await project.up(remoteCommand(host, { create: "true" })));
  await host.stop();
  succeeded(t, await project.destroy());
  t.is(host.ran.length, 1);
});

conformance(
  "fails with the exit status, the command and its output, even with logging none",
  async (t, { project, host }) => {
    const declare = (create: string): Declaration => remoteCommand(host, { create, logging: "none" });
    const failed = await project.up(declare('echo "out"; echo err >&2; exit 3'));
    t.false(failed.ok);
    t.regex(
      failed.text,
      /Process exited with status 3: running "echo \\"out\\"; echo err >&2; exit 3":\s+(out\s+err|err\s+out)/,
    );
    t.deepEqual(
      shown(failed).filter((line) => /^(out|err)$/.test(line)),
      [],
      "logging none shows no line",
    );
    t.is((await project.state()).resources.size, 0, "what failed to be created is not recorded");

    succeeded(t, await project.up(declare("echo fine")));
    t.false((await project.up(declare("kill -9 $$"))).ok);
    const kept = (await project.state()).resources.get("cmd");
    t.is(kept?.inputs.create, "echo fine", "a failed update keeps the old inputs, so that the next up tries again");
    t.is(kept?.outputs.stdout, "fine");
  },
);

conformance("fails with the signal that ended the command", async (t, { project, host }) => {
  const failed = await project.up(remoteCommand(host, { create: "kill -9 $$" }));
  t.regex(failed.text, /Process exited with status 137 from signal KILL/);
});

conformance("logging stdout shows no stderr, and stderr no stdout", async (t, { project, host }) => {
  const both = "echo to-stdout; echo to-stderr >&2";
  const outcome = succeeded(
    t,
    await project.up(
      remoteCommand(host, { create: both, logging: "stdout" }, "one"),
      remoteCommand(host, { create: `${both}; true`, logging: "stderr" }, "two"),
    ),
  );
  t.is(shown(outcome).filter((line) => line === "to-stdout").length, 1);
  t.is(shown(outcome).filter((line) => line === "to-stderr").length, 1);
});

conformance(
  "secret inputs stay secret in the state, and stdout only if it is declared so",
  async (t, { project, host }) => {
    const declare = (stdin: string): Declaration[] => [
      remoteCommand(host, { create: "cat", stdin: { $secret: stdin }, logging: "none" }, "open"),
      {
        ...remoteCommand(host, { create: "cat", stdin: { $secret: stdin }, logging: "none" }, "closed"),
        options: { additionalSecretOutputs: ["stdout"] },
      },
    ];
    for (const password of ["correct horse", "battery staple"]) {
      const outcome = succeeded(t, await project.up(...declare(password)));
      t.false(outcome.text.includes(password));
      const { resources, text } = await project.state();
      t.is(resources.get("open")?.outputs.stdout, password);
      t.is(text.split(password).length - 1, 1, "nowhere but in the one plain stdout");
      t.is(typeof resources.get("closed")?.outputs.stdout, "object");
      t.false(text.includes("PRIVATE KEY"), "the connection is encrypted");
    }
  },
);

conformance("what another command printed is unknown in the preview that changes it", async (t, { project, host }) => {
  const declare = (value: string): Declaration[] => [
    remoteCommand(host, { create: `echo ${value}` }, "source"),
    remoteCommand(host, { create: "cat", stdin: { $output: "source.stdout" } }, "sink"),
  ];
  const fresh = succeeded(t, await project.previewDiff(...declare("one")));
  t.regex(fresh.text, /stdin\s*: \[unknown\]|stdin\s*: output<string>/);
  succeeded(t, await project.up(...declare("one")));
  t.is((await project.state()).resources.get("sink")?.outputs.stdout, "one");
  const changed = succeeded(t, await project.previewDiff(...declare("two")));
  t.regex(changed.text, /~ stdin\s*: "one" => (\[unknown\]|output<string>)/);
  succeeded(t, await project.up(...declare("two")));
  t.is((await project.state()).resources.get("sink")?.outputs.stdout, "two");
});

conformance(
  "refuses a host whose key is not the pinned one, after all attempts, and runs nothing",
  async (t, { project, host }) => {
    const other = new SshHost();
    const failed = await project.up(
      remoteCommand(host, { create: "true", connection: { ...host.connection, hostKey: other.hostKey.public } }),
    );
    await other.remove();
    t.false(failed.ok);
    t.regex(failed.text, /after 1 failed attempts: ssh: handshake failed: ssh: host key mismatch/);
    t.is(host.connections, 2);
    t.is(host.ran.length, 0);
  },
);

conformance(
  "a host that is not up yet is tried again, as often as dialErrorLimit says",
  async (t, { project, host }) => {
    const declare = (dialErrorLimit: number): Declaration =>
      remoteCommand(host, { create: "echo up", connection: { ...host.connection, dialErrorLimit } });
    host.refuse = 3;
    const failed = await project.up(declare(2));
    t.false(failed.ok);
    t.regex(failed.text, /after 2 failed attempts/);
    t.true(shown(failed).includes("Dial 1/2 failed: retrying"));
    host.refuse = 3;
    succeeded(t, await project.up(declare(3)));
    t.deepEqual(commandsOf(host), ["echo up"]);
  },
);

conformance("a changed connection runs the update again", async (t, { project, host }) => {
  const declare = (user: string): Declaration =>
    remoteCommand(host, { create: "echo same", connection: { ...host.connection, user } });
  succeeded(t, await project.up(declare("root")));
  t.deepEqual(stepsOf(succeeded(t, await project.up(declare("admin")))), ["update cmd"]);
  t.is(host.ran.length, 2);
});

conformance("fails when the agent's socket is dead, though the private key would do", async (t, { project, host }) => {
  const agentSocketPath = join(host.directory, "no-agent");
  const failed = await project.up(
    remoteCommand(host, { create: "true", connection: { ...host.connection, agentSocketPath } }),
  );
  t.false(failed.ok);
  t.true(failed.text.includes(`dial unix ${agentSocketPath}`), failed.text);
  t.is(host.connections, 0);
});

conformance(
  "a file is copied when its content, its path or a trigger changes, and not for a new connection",
  async (t, { project, host }) => {
    const source = join(project.directory, "program.mjs");
    writeFileSync(source, "first");
    const declare = (remotePath: string, more: { triggers?: string[]; user?: string } = {}): Declaration => ({
      kind: "CopyToRemote",
      name: "copy",
      inputs: {
        connection: { ...host.connection, user: more.user ?? "root" },
        source: { $file: source },
        remotePath,
        ...(more.triggers === undefined ? {} : { triggers: more.triggers }),
      },
    });
    const arrived = (path: string): string => readFileSync(join(host.directory, path), "utf8");

    succeeded(t, await project.up(declare("/usr/local/lib/x/a.mjs")));
    t.is(arrived("/usr/local/lib/x/a.mjs"), "first", "parent directories are made");
    t.deepEqual(stepsOf(succeeded(t, await project.up(declare("/usr/local/lib/x/a.mjs")))), ["same copy"]);

    const moved = succeeded(t, await project.up(declare("/usr/local/lib/x/a.mjs", { user: "admin" })));
    t.deepEqual(stepsOf(moved), ["update copy"]);
    t.is(host.written.length, 1, "the file is believed to be where the connection now leads");

    writeFileSync(source, "2nd");
    succeeded(t, await project.up(declare("/usr/local/lib/x/a.mjs")));
    t.is(arrived("/usr/local/lib/x/a.mjs"), "2nd", "a shorter file leaves nothing of the longer one");

    mkdirSync(join(host.directory, "directory"));
    succeeded(t, await project.up(declare("/directory")));
    t.is(arrived("/directory/program.mjs"), "2nd");
    t.true(existsSync(join(host.directory, "/usr/local/lib/x/a.mjs")), "the old file stays");

    const triggered = succeeded(t, await project.up(declare("/directory", { triggers: ["machine 2"] })));
    t.deepEqual(stepsOf(triggered), ["create-replacement copy", "replace copy", "delete-replaced copy"]);
    t.is(host.written.length, 4);
    succeeded(t, await project.destroy());
    t.true(existsSync(join(host.directory, "/directory/program.mjs")));
  },
);

const engine = new Docker();
/** A program that stays up, needs no libraries, and is there wherever this project is installed. */
const ESBUILD = join(import.meta.dirname, "../../node_modules/@esbuild/linux-x64/bin/esbuild");
const IMAGE = `twofold-standin-test:${process.pid}`;

/** Containers and networks of this run carry this in their names. */
const PREFIX = `twofold-standin-${process.pid}`;

interface DockerBench extends Bench {
  declare(inputs?: Record<string, unknown>): Declaration[];
  inspect(): Promise<Docker.ContainerInspectInfo>;
  sshPort: number;
}

/** As {@link conformance}, with a network and a container that use every input that the lab uses. */
function dockerConformance(title: string, body: (t: ExecutionContext, bench: DockerBench) => Promise<void>): void {
  conformance(title, async (t, bench) => {
    const sshPort = await freePort();
    const declare = (inputs: Record<string, unknown> = {}): Declaration[] => [
      { kind: "Network", name: "net", inputs: { name: PREFIX, labels: [{ label: "twofold.test", value: PREFIX }] } },
      {
        kind: "Container",
        name: "box",
        inputs: {
          name: PREFIX,
          image: IMAGE,
          hostname: "box",
          command: ["/esbuild", "--servedir=/tmp", "--serve=127.0.0.1:8000", "--watch=forever"],
          cgroupnsMode: "private",
          capabilities: { adds: ["CAP_NET_ADMIN", "CAP_SYS_PTRACE"] },
          securityOpts: ["apparmor=unconfined", "seccomp=unconfined"],
          dnsOpts: ["timeout:1", "attempts:1"],
          tmpfs: { "/run": "", "/tmp": "" },
          devices: [{ hostPath: "/dev/null", containerPath: "/dev/lab-null", permissions: "rwm" }],
          volumes: [
            { hostPath: "/usr", containerPath: "/host-usr", readOnly: true },
            { hostPath: "/opt", containerPath: "/host-opt", readOnly: false },
          ],
          ports: [{ internal: 22, external: sshPort, ip: "127.0.0.1" }],
          networksAdvanced: [{ name: { $output: "net.name" }, aliases: ["alias"] }],
          labels: [
            { label: "twofold.test", value: PREFIX },
            { label: "twofold.host", value: "box" },
          ],
          restart: "no",
          mustRun: true,
          stopSignal: "SIGRTMIN+3",
          destroyGraceSeconds: 1,
          ...inputs,
        },
      },
    ];
    t.teardown(() => removeLeftovers());
    await body(t, { ...bench, declare, sshPort, inspect: () => engine.getContainer(PREFIX).inspect() });
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function removeLeftovers(): Promise<void> {
  const ignoreAbsent = (error: { statusCode?: number }): void => {
    if (error.statusCode !== 404) throw error;
  };
  await engine.getContainer(PREFIX).remove({ force: true }).catch(ignoreAbsent);
  await engine.getNetwork(PREFIX).remove().catch(ignoreAbsent);
}

test.before(async () => {
  const layer = spawn("tar", ["--create", "--directory", dirname(ESBUILD), basename(ESBUILD)]).stdout;
  const [repo, tag] = IMAGE.split(":");
  const imported = await engine.importImage(layer, { repo, tag });
  await new Promise((resolve) => imported.resume().once("end", resolve));
});

test.after.always(() => engine.getImage(IMAGE).remove());

dockerConformance(
  "a container has all that was asked for, and a second up changes nothing",
  async (t, { project, declare, inspect, sshPort }) => {
    succeeded(t, await project.up(...declare()));
    const { Id, Name, Config, HostConfig, NetworkSettings, State } = await inspect();
    t.true(State.Running);
    t.is(Name, `/${PREFIX}`);
    t.like(Config, {
      Image: IMAGE,
      Hostname: "box",
      Cmd: ["/esbuild", "--servedir=/tmp", "--serve=127.0.0.1:8000", "--watch=forever"],
      Labels: { "twofold.test": PREFIX, "twofold.host": "box" },
      StopSignal: "SIGRTMIN+3",
    });
    t.deepEqual(
      {
        adds: [...(HostConfig.CapAdd ?? [])].sort(),
        security: [...(HostConfig.SecurityOpt ?? [])].sort(),
        dns: [...(HostConfig.DnsOptions ?? [])].sort(),
        binds: [...(HostConfig.Binds ?? [])].sort(),
        cgroupns: (HostConfig as { CgroupnsMode?: string }).CgroupnsMode,
        tmpfs: HostConfig.Tmpfs,
        devices: HostConfig.Devices,
        ports: HostConfig.PortBindings,
        restart: HostConfig.RestartPolicy?.Name,
        privileged: HostConfig.Privileged,
        init: HostConfig.Init,
        mode: HostConfig.NetworkMode,
      },
      {
        adds: ["CAP_NET_ADMIN", "CAP_SYS_PTRACE"],
        security: ["apparmor=unconfined", "seccomp=unconfined"],
        dns: ["attempts:1", "timeout:1"],
        binds: ["/opt:/host-opt:rw", "/usr:/host-usr:ro"],
        cgroupns: "private",
        tmpfs: { "/run": "", "/tmp": "" },
        devices: [{ PathOnHost: "/dev/null", PathInContainer: "/dev/lab-null", CgroupPermissions: "rwm" }],
        ports: { "22/tcp": [{ HostIp: "127.0.0.1", HostPort: String(sshPort) }] },
        restart: "no",
        privileged: false,
        init: false,
        mode: "bridge",
      },
    );
    t.deepEqual(Object.keys(NetworkSettings.Networks), [PREFIX], "it has left the default bridge");
    t.true(NetworkSettings.Networks[PREFIX]?.Aliases?.includes("alias"));
    t.deepEqual((await engine.getNetwork(PREFIX).inspect()).Labels, { "twofold.test": PREFIX });

    const { resources } = await project.state();
    t.is(resources.get("box")?.id, Id);
    t.like(resources.get("box")?.outputs, {
      networkDatas: [{ networkName: PREFIX, ipAddress: NetworkSettings.Networks[PREFIX]?.IPAddress }],
    });
    t.like(resources.get("net")?.outputs, { name: PREFIX, driver: "bridge", scope: "local", internal: false });

    t.deepEqual(stepsOf(succeeded(t, await project.up(...declare()))), ["same net", "same box"]);
    const reordered = declare({
      capabilities: { adds: ["CAP_SYS_PTRACE", "CAP_NET_ADMIN"] },
      securityOpts: ["seccomp=unconfined", "apparmor=unconfined"],
      dnsOpts: ["attempts:1", "timeout:1"],
    });
    t.deepEqual(stepsOf(succeeded(t, await project.up(...reordered))), ["same net", "same box"]);
    t.is((await inspect()).Id, Id);

    succeeded(t, await project.destroy());
    await t.throwsAsync(inspect, { message: /No such container/ });
    await t.throwsAsync(() => engine.getNetwork(PREFIX).inspect(), { message: /not found/ });
  },
);

dockerConformance(
  "a changed hostname replaces the container, the old one first; a changed restart policy does not",
  async (t, { project, declare, inspect }) => {
    succeeded(t, await project.up(...declare()));
    const { Id } = await inspect();
    const updated = succeeded(t, await project.up(...declare({ restart: "unless-stopped", destroyGraceSeconds: 2 })));
    t.deepEqual(stepsOf(updated), ["same net", "update box"]);
    t.like(await inspect(), { Id, HostConfig: { RestartPolicy: { Name: "unless-stopped" } } });
    const replaced = succeeded(t, await project.up(...declare({ hostname: "other" })));
    t.deepEqual(stepsOf(replaced), ["same net", "delete-replaced box", "replace box", "create-replacement box"]);
    t.not((await inspect()).Id, Id);
  },
);

dockerConformance(
  "refresh sees that a container is gone or stopped, and the next up mends it",
  async (t, { project, declare, inspect }) => {
    succeeded(t, await project.up(...declare()));
    const { Id } = await inspect();
    await engine.getContainer(Id).stop({ t: 0 });
    t.deepEqual(
      stepsOf(succeeded(t, await project.up(...declare()))),
      ["same net", "same box"],
      "up alone does not look",
    );
    succeeded(t, await project.refresh());
    const mended = succeeded(t, await project.up(...declare()));
    t.deepEqual(stepsOf(mended), ["same net", "delete-replaced box", "replace box", "create-replacement box"]);
    t.like(await inspect(), { State: { Running: true } });

    await engine.getContainer(PREFIX).remove({ force: true });
    succeeded(t, await project.refresh());
    t.deepEqual(stepsOf(succeeded(t, await project.up(...declare()))), ["same net", "create box"]);
    await engine.getContainer(PREFIX).remove({ force: true });
    succeeded(t, await project.destroy());
  },
);

dockerConformance(
  "fails on an image that is not there, and the next up goes on",
  async (t, { project, declare, inspect }) => {
    const failed = await project.up(...declare({ image: "twofold-no-such-image:1" }));
    t.false(failed.ok);
    t.regex(failed.text, /Unable to create container .*twofold-no-such-image:1/);
    succeeded(t, await project.up(...declare()));
    t.true((await inspect()).State.Running);
  },
);

dockerConformance(
  "fails when a container does not start, and the next up makes one that runs",
  async (t, { project, declare, inspect }) => {
    t.false((await project.up(...declare({ command: ["/no-such-program"] }))).ok);
    succeeded(t, await project.up(...declare()));
    t.true((await inspect()).State.Running);
  },
);

for (const [what, declaration, property] of [
  ["a command's environment", { kind: "Command", inputs: { environment: { A: "b" } } }, "environment"],
  [
    "a connection's proxy",
    { kind: "Command", inputs: { connection: { host: "h", proxy: { host: "p" } } } },
    "connection.proxy",
  ],
  [
    "a container's privileged",
    { kind: "Container", inputs: { name: "n", image: "i", privileged: true } },
    "privileged",
  ],
] as const) {
  test.serial(`stand-in: refuses ${what} by name, in the preview`, async (t) => {
    const project = await Project.make(STANDINS);
    t.teardown(() => project.remove());
    const inputs = { ...(declaration.kind === "Command" ? { connection: { host: "h" } } : {}), ...declaration.inputs };
    const failed = await project.preview({ kind: declaration.kind, name: "refused", inputs });
    t.false(failed.ok);
    t.true(failed.text.includes(`does not take ${property}, and dropping it would change what is made`), failed.text);
  });
}

test.serial("stand-in: an unknown in the connection does not show the private key in a preview", async (t) => {
  const host = new SshHost();
  const project = await Project.make(STANDINS);
  t.teardown(async () => {
    await project.remove();
    await host.remove();
  });
  const connection = { ...host.connection, host: { $output: "source.stdout" } };
  const preview = await project.previewDiff(
    remoteCommand(host, { create: "echo 127.0.0.1" }, "source"),
    remoteCommand(host, { create: "true", connection }, "sink"),
  );
  t.true(preview.ok, preview.text);
  t.false(preview.text.includes("PRIVATE KEY"));
});

test.serial("stand-in: says once in each run that it is at work", async (t) => {
  const host = new SshHost();
  await host.start();
  t.teardown(() => host.remove());
  const project = await Project.make(STANDINS);
  t.teardown(() => project.remove());
  const outcome = await project.up(remoteCommand(host, {}, "one"), remoteCommand(host, {}, "two"));
  const said = outcome.messages.filter(
    ({ text, ephemeral }) => !ephemeral && text.includes("stand-in for the command"),
  );
  t.is(said.length, 1);
});
