/**
 * How set-up comes by its programs, with stubs in the place of those that would take the network, minutes or the machine's packages:
 * a PATH, a home of Pulumi's and a cache of this test's own.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { ensurePackages } from "../../scripts/setup/packages.mjs";
import { ensurePlugins } from "../../scripts/setup/plugins.mjs";
import { which } from "../../scripts/setup/run.mjs";
import { ensureToolchain, pulumiVersion, sha256Of } from "../../scripts/setup/toolchain.mjs";
import { waitUntil } from "../../scripts/setup/wait.mjs";

const VERSION = pulumiVersion();
const ARCHIVE = `pulumi-v${VERSION}-linux-${process.arch}.tar.gz`;
/** What set-up and the stubs call of the machine itself; nothing that could install or build. */
const BASE = ["cat", "chmod", "flock", "gzip", "rm", "tar", "touch"].map((name) => ({ name, file: which(name) ?? "" }));
const SETUP = new URL("../../scripts/setup/", import.meta.url).href;

/** A machine with nothing but what the test puts there. Its tests run one after the other: they share the environment. */
class Machine {
  readonly directory = mkdtempSync(join(tmpdir(), "twofold-machine-"));
  readonly said: string[] = [];
  readonly say = (line: string) => this.said.push(line);
  readonly home = join(this.directory, "pulumi");
  readonly bin = join(this.home, "versions", VERSION, "bin");
  /** Directories of PATH, before the machine's own. */
  readonly #path: string[] = [];

  constructor(t: ExecutionContext) {
    const base = join(this.directory, "base");
    mkdirSync(base);
    for (const { name, file } of BASE) symlinkSync(file, join(base, name));
    const { PATH, PULUMI_HOME, XDG_CACHE_HOME } = process.env;
    const fetched = globalThis.fetch;
    t.teardown(() => {
      Object.assign(process.env, { PATH, PULUMI_HOME, XDG_CACHE_HOME });
      globalThis.fetch = fetched;
      rmSync(this.directory, { recursive: true, force: true });
    });
    process.env.PATH = base;
    process.env.PULUMI_HOME = this.home;
    process.env.XDG_CACHE_HOME = join(this.directory, "cache");
    globalThis.fetch = async () => {
      throw Object.assign(new Error("no network here"), { code: "ENETUNREACH" });
    };
  }

  /** A directory with programs, each a shell script, at the end of what PATH has. */
  programs(name: string, scripts: Record<string, string>): string {
    const directory = join(this.directory, name);
    mkdirSync(directory, { recursive: true });
    for (const [program, script] of Object.entries(scripts)) {
      writeFileSync(join(directory, program), `#!/bin/sh\n${script}\n`);
      chmodSync(join(directory, program), 0o755);
    }
    this.#path.push(directory);
    process.env.PATH = [...this.#path, join(this.directory, "base")].join(":");
    return directory;
  }

  /** A file that stubs write their calls into, a line each. */
  get calls(): string[] {
    const file = join(this.directory, "calls");
    return existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n") : [];
  }

  /** A Go compiler: it notes the call and writes what it is asked for. */
  go(): void {
    this.programs("go", {
      go: `echo "go $*" >> ${this.directory}/calls
        while [ "$1" != -o ]; do shift; done
        program=\${3##*/}
        printf '#!/bin/sh\\necho v${VERSION}\\n' > "$2$program"
        chmod +x "$2$program"`,
    });
  }

  /** Pulumi's site and its release, which have this archive, and say of it what `checksum` is. */
  site(archive: Buffer, checksum: string): void {
    globalThis.fetch = async (url) => {
      if (String(url).endsWith("checksums.txt")) return new Response(`${checksum}  ${ARCHIVE}\n`);
      return new Response(String(url).endsWith(ARCHIVE) ? new Uint8Array(archive) : "");
    };
  }

  /** An archive as Pulumi publishes it. */
  async archive(version = VERSION): Promise<{ bytes: Buffer; sha256: string }> {
    const root = join(this.directory, `archive-${version}`);
    mkdirSync(join(root, "pulumi"), { recursive: true });
    for (const program of ["pulumi", "pulumi-language-nodejs"]) {
      writeFileSync(join(root, "pulumi", program), `#!/bin/sh\necho v${version}\n`, { mode: 0o755 });
    }
    execFileSync("tar", ["-C", root, "-czf", join(root, "pulumi.tar.gz"), "pulumi"]);
    return { bytes: readFileSync(join(root, "pulumi.tar.gz")), sha256: await sha256Of(join(root, "pulumi.tar.gz")) };
  }
}

/** Pulumi's CLI and its language host, of this version. */
const toolchain = (version: string) => ({ pulumi: `echo v${version}`, "pulumi-language-nodejs": "" });

test.serial("the operator's own pinned Pulumi is taken, whatever other pulumi stands before it on PATH", async (t) => {
  const machine = new Machine(t);
  machine.programs("node_modules/.bin", { pulumi: `echo v${VERSION}` });
  machine.programs("old", toolchain("3.1.0"));
  machine.programs("broken", { pulumi: "exit 1", "pulumi-language-nodejs": "" });
  const own = machine.programs("own", toolchain(VERSION));
  t.is(await ensureToolchain(machine.say), own);
  t.deepEqual(machine.said, [`Pulumi ${VERSION} is there: ${own}`]);
  t.false(existsSync(machine.home), "nothing was made");
});

test.serial("Pulumi's own download is taken once it has the checksum of its release", async (t) => {
  const machine = new Machine(t);
  const { bytes, sha256 } = await machine.archive();
  machine.site(bytes, sha256);
  machine.go();
  t.is(await ensureToolchain(machine.say), machine.bin);
  t.deepEqual(readdirSync(machine.bin).sort(), ["pulumi", "pulumi-language-nodejs"]);
  t.deepEqual(machine.calls, [], "nothing was built");
  t.deepEqual(readdirSync(dirname(dirname(machine.bin))), [VERSION], "neither draft nor lock is left");
  // Run again, it skips what is there.
  machine.said.length = 0;
  globalThis.fetch = () => t.fail() as never;
  t.is(await ensureToolchain(machine.say), machine.bin);
  t.deepEqual(machine.said, [`Pulumi ${VERSION} is there: ${machine.bin}`]);
});

for (const [what, break_, says] of [
  [
    "has another checksum than its release says",
    async (machine: Machine) => machine.site((await machine.archive()).bytes, "0".repeat(64)),
    /SHA-256 of .* is [0-9a-f]{64}, the release says 0{64}/,
  ],
  [
    "is cut off",
    async (machine: Machine) => {
      const { bytes, sha256 } = await machine.archive();
      machine.site(bytes.subarray(0, bytes.length / 2), sha256);
    },
    /SHA-256 of/,
  ],
  ["can't be reached", async () => {}, /get\.pulumi\.com can't be reached \(ENETUNREACH\)/],
] as const) {
  test.serial(`a download that ${what} is not used, and the pinned CLI is built`, async (t) => {
    const machine = new Machine(t);
    await break_(machine);
    machine.go();
    t.is(await ensureToolchain(machine.say), machine.bin);
    t.regex(machine.said.join("\n"), says);
    t.is(machine.calls.length, 2);
    t.true(machine.calls[0]?.includes(`version.Version=v${VERSION} `), machine.calls[0]);
    t.deepEqual(readdirSync(machine.bin).sort(), ["pulumi", "pulumi-language-nodejs"]);
  });
}

test.serial("fails on a CLI of another version than the pinned one, and keeps none of it", async (t) => {
  const machine = new Machine(t);
  const { bytes, sha256 } = await machine.archive("3.1.0");
  machine.site(bytes, sha256);
  await t.throwsAsync(() => ensureToolchain(machine.say), { message: /version '3\.1\.0' instead of/ });
  t.deepEqual(readdirSync(dirname(dirname(machine.bin))), []);
});

test.serial("fails where Pulumi can neither be had nor be built, and says what to do", async (t) => {
  const machine = new Machine(t);
  await t.throwsAsync(() => ensureToolchain(machine.say), {
    message: /can't be had[\s\S]*to do: let this machine reach/,
  });
});

/** A set-up of its own, which says "held" once it stands in the middle of its work if `hangs`. */
function another(t: ExecutionContext, archive: { bytes: Buffer; sha256: string }, hangs: boolean): ChildProcess {
  const program = `import { ensureToolchain } from ${JSON.stringify(`${SETUP}toolchain.mjs`)};
    const bytes = Uint8Array.from(Buffer.from(${JSON.stringify(archive.bytes.toString("base64"))}, "base64"));
    globalThis.fetch = async (url) => {
      if (String(url).endsWith("checksums.txt")) return new Response("${archive.sha256}  ${ARCHIVE}\\n");
      if (!String(url).endsWith("${ARCHIVE}")) return new Response("");
      console.log("fetched");
      return new Response(new ReadableStream({
        pull(controller) {
          if (bytes.done) return ${hangs} ? (console.log("held"), new Promise(() => {})) : controller.close();
          controller.enqueue(bytes.subarray(0, ${hangs} ? bytes.length / 2 : bytes.length));
          bytes.done = true;
        },
      }));
    };
    console.log(await ensureToolchain(() => {}));`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  return child;
}

test.serial(
  "a set-up that is killed in the middle of its download is finished by the next, and leaves nothing",
  async (t) => {
    const machine = new Machine(t);
    const archive = await machine.archive();
    const killed = another(t, archive, true);
    const versions = dirname(dirname(machine.bin));
    let output = "";
    killed.stdout?.on("data", (text) => {
      output += text;
    });
    t.true(await waitUntil(() => output.includes("held"), 60));
    killed.kill("SIGKILL");
    await once(killed, "exit");
    const [draft = ""] = readdirSync(versions).filter((name) => name.includes("draft"));
    t.true(existsSync(join(versions, draft, ARCHIVE)), "half an archive is left");
    machine.site(archive.bytes, archive.sha256);
    t.is(await ensureToolchain(machine.say), machine.bin);
    t.deepEqual(readdirSync(versions), [VERSION]);
  },
);

test.serial("of two set-ups at once one fetches, and both have it", async (t) => {
  const machine = new Machine(t);
  const archive = await machine.archive();
  const both = [another(t, archive, false), another(t, archive, false)];
  const outputs = await Promise.all(
    both.map(async (child) => {
      let output = "";
      child.stdout?.on("data", (text) => {
        output += text;
      });
      await once(child, "close");
      return output.trim().split("\n");
    }),
  );
  t.deepEqual(
    outputs.map((lines) => lines.at(-1)),
    [machine.bin, machine.bin],
  );
  t.is(outputs.flat().filter((line) => line === "fetched").length, 1);
});

const command = (version: string) => `plugins/resource-command-v${version}`;

for (const [what, prepare, expected] of [
  ["the official plugin on PATH", (m: Machine) => [m.programs("official", { "pulumi-resource-command": "" })], []],
  [
    "the exact version in Pulumi's home, which the engine finds by itself",
    (m: Machine) => [m.programs(`pulumi/${command("1.2.1")}`, { "pulumi-resource-command": "" })],
    [],
  ],
  [
    "another version of the same major one, which the engine has to be led to",
    (m: Machine) => [m.programs(`pulumi/${command("1.9.0")}`, { "pulumi-resource-command": "" })],
    ["pulumi/plugins/resource-command-v1.9.0"],
  ],
] as const) {
  test.serial(`provider plugins: ${what} is taken`, async (t) => {
    const machine = new Machine(t);
    const found = prepare(machine);
    // A plugin directory is in no PATH; only its files were to be made.
    if (!what.endsWith("on PATH")) process.env.PATH = join(machine.directory, "base");
    const plugins = await ensurePlugins("/nonexistent", machine.say);
    t.deepEqual(plugins.standins, ["docker"]);
    t.deepEqual(
      plugins.path.filter((directory) => !directory.endsWith("standins/docker")),
      expected.map((directory) => join(machine.directory, directory)),
    );
    t.true(
      machine.said.some((line) => line.startsWith(`command: the official plugin, ${found[0]}`)),
      machine.said.join("\n"),
    );
  });
}

test.serial(
  "provider plugins: a stand-in on PATH and an unfinished official one are none, and a stand-in is told",
  async (t) => {
    const machine = new Machine(t);
    const standin = machine.programs("standin", { "pulumi-resource-command": "" });
    writeFileSync(join(standin, "STANDIN"), "");
    machine.programs(`pulumi/${command("1.2.1")}`, {});
    const plugins = await ensurePlugins("/nonexistent", machine.say);
    t.deepEqual(plugins.standins, ["command", "docker"]);
    t.regex(machine.said.join("\n"), /command: a STAND-IN is at work/);
  },
);

// Packages are installed on Debian by root alone; elsewhere set-up says what is missing.
const onDebian = existsSync("/etc/debian_version") && process.getuid?.() === 0 ? test.serial : test.serial.skip;

/** apt, dpkg and their database: a file a package. @param interrupted as a killed dpkg leaves it */
function debian(machine: Machine, { interrupted = false, broken = false, stale = false } = {}): void {
  const state = join(machine.directory, "dpkg");
  mkdirSync(state);
  if (interrupted) writeFileSync(join(state, "interrupted"), "");
  if (stale) writeFileSync(join(state, "stale"), "");
  const call = `echo "\${0##*/} $*" >> ${machine.directory}/calls`;
  machine.programs("debian", {
    "dpkg-query": `for name; do [ ! -e "${state}/$name.deb" ] || echo "$name installed"; done`,
    dpkg: `${call}; ${broken ? "echo 'error processing package mdadm' >&2; exit 1" : `rm -f "${state}/interrupted"`}`,
    "apt-get": `${call}
      if [ "$1" = update ]; then rm -f "${state}/stale"; exit; fi
      if [ -e "${state}/interrupted" ]; then
        echo "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem." >&2
        exit 100
      fi
      if [ -e "${state}/stale" ]; then echo "E: Unable to locate package nftables" >&2; exit 100; fi
      for name; do case $name in -* | *=* | install) ;; *) touch "${state}/$name.deb" ;; esac; done`,
  });
}

const steps = (machine: Machine) => machine.calls.map((line) => line.split(" ").slice(0, 2).join(" "));

onDebian("only what is missing is installed, and what is there is skipped", async (t) => {
  const machine = new Machine(t);
  debian(machine);
  await ensurePackages(["nftables"], "the tests call it", machine.say);
  await ensurePackages(["nftables", "xz-utils"], "the tests call it", machine.say);
  t.deepEqual(steps(machine), ["apt-get install", "apt-get install"]);
  t.regex(machine.calls[1] ?? "", / xz-utils$/);
  t.notRegex(machine.calls[1] ?? "", /nftables/);
  machine.said.length = 0;
  await ensurePackages(["nftables", "xz-utils"], "the tests call it", machine.say);
  t.deepEqual(machine.said, ["installed: nftables, xz-utils"]);
  t.is(machine.calls.length, 2);
});

onDebian("an installation that was interrupted is finished, then the packages are installed", async (t) => {
  const machine = new Machine(t);
  debian(machine, { interrupted: true });
  await ensurePackages(["nftables"], "the tests call it", machine.say);
  t.deepEqual(steps(machine), ["apt-get install", "dpkg --configure", "apt-get install"]);
  t.regex(machine.said.join("\n"), /an earlier installation was interrupted: dpkg --configure -a/);
});

onDebian("an interrupted installation and old package lists are both put right", async (t) => {
  const machine = new Machine(t);
  debian(machine, { interrupted: true, stale: true });
  await ensurePackages(["nftables"], "the tests call it", machine.say);
  const wanted = ["apt-get install", "dpkg --configure", "apt-get install", "apt-get update", "apt-get install"];
  t.deepEqual(steps(machine), wanted);
});

onDebian("fails on an interrupted installation that can't be finished, with dpkg's own words", async (t) => {
  const machine = new Machine(t);
  debian(machine, { interrupted: true, broken: true });
  await t.throwsAsync(() => ensurePackages(["nftables"], "the tests call it", machine.say), {
    message: /dpkg --configure ended with exit status 1\n {2}received: error processing package mdadm/,
  });
});
