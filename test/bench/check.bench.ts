/**
 * `./twofold check` beside pyinfra (from PyPI) looking at the same items of the same host over SSH, both finding nothing to change.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import test from "ava";
import { documentsOf } from "../../components/topology/documents.ts";
import { parseTopology } from "../../components/topology/parse.ts";
import { formatProblems } from "../../components/topology/problem.ts";
import { readStackConfig } from "../../components/topology/stack-config.ts";
import { stageOf } from "../../scripts/host/stages.ts";
import { cacheDirectory } from "../../scripts/setup/environment.mjs";
import { Lab } from "../helpers/lab.ts";
import { outputOf, runProgram } from "../helpers/run-program.ts";
import { inTurns, ratio, seconds, table } from "./paired.ts";

const ROUNDS = 7;
const HERE = join(import.meta.dirname, "pyinfra");
const HOST = "alice";

/** pyinfra in an environment of its own below the cache directory, made again when the pinned versions change. */
async function installPyinfra(): Promise<string> {
  const directory = join(cacheDirectory(), "bench/pyinfra");
  const requirements = join(HERE, "requirements.txt");
  const done = join(directory, "installed.txt");
  if (!existsSync(done) || readFileSync(done, "utf8") !== readFileSync(requirements, "utf8")) {
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { recursive: true });
    outputOf(await runProgram("python3", ["-m", "venv", directory]));
    const words = ["install", "--quiet", "--require-hashes", "--only-binary", ":all:", "--requirement", requirements];
    outputOf(await runProgram(join(directory, "bin/pip"), words));
    writeFileSync(done, readFileSync(requirements));
  }
  return join(directory, "bin/pyinfra");
}

interface Item {
  kind: string;
  what: string;
  [detail: string]: string;
}

/** Every item that twofold's stages declare of the host, with what pyinfra has to be told of it. */
async function declaredItems(lab: Lab, directory: string): Promise<Item[]> {
  const { stack, config } = readStackConfig(lab.facts.configFile);
  const parsed = parseTopology(config, stack);
  if (!parsed.ok) throw new Error(formatProblems(parsed.problems));
  const documents = documentsOf(parsed.topology).get(HOST) ?? [];
  const names = documents.flatMap((document) => stageOf(document.stage).items(document as never));
  const items: Item[] = [];
  for (const name of names) {
    const colon = name.indexOf(":");
    const item: Item = { kind: name.slice(0, colon), what: name.slice(colon + 1) };
    Object.assign(item, await detailsOf(lab, item, join(directory, `${items.length}.content`)));
    items.push(item);
  }
  return items;
}

async function detailsOf(lab: Lab, { kind, what }: Item, contentFile: string): Promise<Record<string, string>> {
  const says = async (...words: string[]) => (await lab.exec(HOST, ...words)).trimEnd();
  const owned = async () => {
    const [owner = "", group = "", mode = ""] = (await says("stat", "--format=%U %G %a", what)).split(" ");
    return { owner, group, mode };
  };
  switch (kind) {
    case "user": {
      const [, , , , , home = "", shell = ""] = (await says("getent", "passwd", what)).split(":");
      return { group: await says("id", "--group", "--name", what), home, shell };
    }
    case "directory":
    case "key":
      return owned();
    case "file":
      writeFileSync(contentFile, await lab.exec(HOST, "cat", what));
      return { ...(await owned()), content: contentFile };
    case "symlink":
      return { target: await says("readlink", what) };
    case "fstab":
      return { line: await says("grep", "--fixed-strings", ` ${what} `, "/etc/fstab") };
    case "volume":
      return { mount: await says("findmnt", "--noheadings", "--output=TARGET", "--types=btrfs", "--first-only") };
    default:
      return {};
  }
}

test("check beside pyinfra, on the same items of one host", async (t) => {
  t.timeout(30 * 60_000);
  const pyinfra = await installPyinfra();
  const lab = await Lab.up({ name: "one-host", log: () => {} });
  const directory = join(lab.facts.directory, "bench");
  try {
    mkdirSync(directory);
    const items = await declaredItems(lab, directory);
    const itemsFile = join(directory, "items.json");
    writeFileSync(itemsFile, JSON.stringify(items));
    const known = join(directory, "known_hosts");
    const port = lab.facts.hosts[HOST]?.sshPort;
    const hosts = readStackConfig(lab.facts.configFile).config["twofold:hosts"] as Record<string, { hostKey: string }>;
    writeFileSync(known, `[127.0.0.1]:${port} ${hosts[HOST]?.hostKey}\n`);
    const data = [`ssh_known_hosts_file=${known}`, "ssh_strict_host_key_checking=yes", "ssh_allow_agent=false"];
    const words = ["--yes", "--user", "root", "--port", String(port), "--key", lab.facts.identityFile];
    const pass = () =>
      runProgram(
        pyinfra,
        [...words, ...data.flatMap((each) => ["--data", each]), "127.0.0.1", join(HERE, "deploy.py")],
        {
          env: { ...lab.facts.env, TWOFOLD_BENCH_ITEMS: itemsFile },
        },
      );
    const unchanged = async () => {
      const ran = await pass();
      const said = ran.stdout + ran.stderr;
      // Its last line has how many operations there were, succeeded, failed and changed nothing: all of them the last.
      if (!/Grand total +(\d+) +- +- +\1 /.test(said)) throw new Error(`pyinfra found something to change:\n${said}`);
    };
    await unchanged();
    const check = async () => outputOf(await lab.verb("check"));
    await check();
    const measured = await inTurns(
      [
        { name: "./twofold check", measure: () => seconds(check) },
        { name: "pyinfra", measure: () => seconds(unchanged) },
      ],
      ROUNDS,
    );
    t.log(`${items.length} items, load ${loadavg()[0]?.toFixed(1)}\n${table(measured, "s", "./twofold check")}`);
    t.log(`check ÷ pyinfra ${ratio(measured, "./twofold check", "pyinfra").toFixed(2)}`);
  } finally {
    await lab.down();
  }
  t.pass();
});
