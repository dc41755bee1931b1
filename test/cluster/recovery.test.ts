/**
 * Repairs of the copies that are cut short: killed at named points, and without power right after they have ended. Whatever moment it is, each
 * copy is the old one with its journal, the new one without it, or not there; and the same repair, run again, ends it.
 */
import { createHash } from "node:crypto";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { LIGHTNINGD, NODE_STATE } from "../../scripts/host/contract.ts";
import { type Place, readCopy } from "../faults/copies.ts";
import { nodeAnswers } from "../faults/gate.ts";
import { ANSWER_SECONDS, TwoCopies } from "../faults/node-under-faults.ts";
import { cutPower, powerOn, withVolume } from "../faults/power.ts";
import { chooseSeed } from "../faults/seed.ts";
import { eventually, Lab } from "../helpers/lab.ts";

const POINT_SECONDS = 60;
const OLD_JOURNAL = "the journal of the copy that is replaced\n";

let lab: Lab;
let wallet: TwoCopies;
/** The replica as the node's host sees it. */
const MOUNTED = "/var/lib/twofold-replica/alice/lightningd.sqlite3";

test.before("a lab with two copies", async () => {
  lab = await Lab.up({ log: () => {} });
  wallet = new TwoCopies(lab, chooseSeed());
  await wallet.commit("first", 3);
});
test.after.always(async () => {
  await lab?.down();
});

const sum = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");
const inHost = async (place: Place) => place.host.path(place.path);

/** Points of a copy's way, as a condition of test(1) on the paths that the node's host sees. */
const POINTS = (path: string) => {
  const part = path.replace(/[^/]+$/, ".$&.twofold-part");
  return {
    "the copy is begun": `[ -e ${part} ]`,
    "the former files are being put aside": `set -- ${path}.replaced-*/*; [ -e "$1" ]`,
    "the former database is away": `[ ! -e ${path} ]`,
    "the copy is in its place": `[ ! -e ${part} ] && set -- ${path}.replaced-*/* && [ -e "$1" ]`,
  };
};

/** What a repair owes is written before it stops the node. */
const NODE_IS_STOPPED = `[ -e /run/twofold/start-owed ] && ! systemctl --quiet is-active ${LIGHTNINGD.unit}`;

/** Kills all processes of the repair's unit, by its control group, as soon as the condition holds. @returns whether it was met */
async function killWhen(condition: string, verb: string): Promise<boolean> {
  const groups = `/sys/fs/cgroup/system.slice/twofold-*-${verb}-*.service/cgroup.kill`;
  const words = `until ${condition}; do :; done; for group in ${groups}; do echo 1 > "$group"; done`;
  const { status } = await lab.tryExec(wallet.node.name, "timeout", `${POINT_SECONDS}`, "sh", "-c", words);
  return status === 0;
}

/** An older database and a journal of its own at `place`. @returns its digest */
async function putOld(place: Place): Promise<string> {
  const user = await place.host.exec("stat", "--format=%U", place.path.replace(/\/[^/]+$/, ""));
  await place.host.exec("rm", "--force", `${place.path}-wal`, `${place.path}-shm`);
  const sql = "UPDATE vars SET intval = intval - 1 WHERE name = 'data_version'";
  await place.host.exec("runuser", "-u", user.trim(), "--", "sqlite3", place.path, sql);
  await place.host.exec("rm", "--force", `${place.path}-wal`, `${place.path}-shm`);
  const journal = `printf '%s' "$1" > "$2"; chown "$3": "$2"`;
  await place.host.exec("sh", "-euc", journal, "sh", OLD_JOURNAL, `${place.path}-journal`, user.trim());
  await place.host.exec("sh", "-euc", `rm -rf "$1".replaced-*`, "sh", place.path);
  await place.host.exec("sync");
  return sum(await inHost(place));
}

/** What lies at a copy's path, and in the directories beside it. @throws if it is none of the states that a cut may leave */
function stateOf(path: string, digests: { old: string; new: string }): "old" | "new" | "absent" {
  const journal = existsSync(`${path}-journal`);
  const there = existsSync(path) ? sum(path) : undefined;
  const aside = globSync(`${path}.replaced-*/*`).filter((file) => !file.endsWith("-journal"));
  if (there !== digests.old && aside.some((file) => sum(file) !== digests.old))
    throw new Error(`what was put aside is not the former copy: ${aside}`);
  if (there === digests.old && journal) return "old";
  if (there === undefined) return "absent";
  if (there === digests.new && !journal) {
    if (aside.length !== 1) throw new Error(`the copy was replaced, and the former one is in ${aside.length} places`);
    return "new";
  }
  throw new Error(
    there === digests.new
      ? "the new copy lies beside the former one's journal"
      : `${path} is neither the former copy nor the new one, or has lost its journal: ${there}`,
  );
}

/** The copy that is old and replaced, and the one that it is made from. */
const REPAIRS = [
  { verb: "restore", words: ["restore", "replica"], old: () => wallet.main, from: () => wallet.replica },
  {
    verb: "resync",
    words: ["resync", "replica", "--reason", "a test kills it on its way"],
    old: () => wallet.replica,
    from: () => wallet.main,
  },
] as const;

for (const { verb, words, old, from } of REPAIRS) {
  test.serial(
    `a ${verb} that is killed leaves each copy whole, wherever it was, and is ended by the next`,
    async (t) => {
      const seen: string[] = [];
      const seenBy = verb === "restore" ? wallet.main.path : MOUNTED;
      for (const [point, condition] of Object.entries(POINTS(seenBy))) {
        await wallet.stop();
        const digests = { new: sum(await inHost(from())), old: await putOld(old()) };
        const [killed, ran] = await Promise.all([killWhen(condition, verb), lab.verb(...words)]);
        t.true(killed, `${point}: the point was not met`);
        const state = stateOf(await inHost(old()), digests);
        seen.push(`${point}: ${ran.status === 0 ? "ended before the kill" : "killed"}, ${state}`);
        if (state !== "new") {
          const again = await lab.verb(...words);
          t.is(again.status, 0, again.stderr);
          t.is(sum(await inHost(old())), digests.new, point);
        }
        t.is(existsSync(seenBy.replace(/[^/]+$/, ".$&.twofold-part")), false);
        await wallet.start();
        await wallet.nothingIsLost();
      }
      t.log(seen.join("\n"));
      t.true(seen.filter((line) => line.includes(": killed")).length >= 2, seen.join("\n"));
    },
  );

  test.serial(
    `a power cut right after a ${verb} leaves the new copy on its disk, and the former one beside it`,
    async (t) => {
      await wallet.stop();
      const place = old();
      const digests = { new: sum(await inHost(from())), old: await putOld(place) };
      await wallet.verb(...words);
      await cutPower([place.host]);
      await withVolume(place.host, place.mount, async (root) => {
        const path = join(root, place.path.slice(place.mount.length));
        t.is(stateOf(path, digests), "new");
        t.is(globSync(`${path}.replaced-*/*-journal`).length, 1, "the former copy has lost its journal");
      });
      await powerOn([place.host]);
      await eventually("the node is back", ANSWER_SECONDS, async () => {
        const active = await lab.tryExec(wallet.node.name, "systemctl", "is-active", LIGHTNINGD.unit);
        if (active.stdout.trim() !== "active") await wallet.start();
        return nodeAnswers(wallet.node, wallet.topology, ANSWER_SECONDS);
      });
      await wallet.nothingIsLost();
      t.pass();
    },
  );
}

test.serial(
  "a degrade end that is killed leaves the mode in force, and is ended by the next, which starts the node",
  async (t) => {
    await wallet.verb("degrade", "replica", "--for", "1h", "--reason", "a test kills its end");
    const condition = POINTS(MOUNTED)["the copy is begun"];
    const [killed] = await Promise.all([killWhen(condition, "degrade-end"), lab.verb("degrade", "end")]);
    t.true(killed);
    await wallet.ended();
    t.is((await lab.tryExec(wallet.node.name, "test", "-e", NODE_STATE.degraded)).status, 0);
    await wallet.verb("degrade", "end");
    await wallet.nothingIsLost();
    t.not((await lab.tryExec(wallet.node.name, "test", "-e", NODE_STATE.degraded)).status, 0);
  },
);

test.serial(
  "a rebuild of the witness that is killed once the node is stopped is ended by the next, which starts it",
  async (t) => {
    const words = ["witness", "rebuild", "--reason", "a test kills it on its way"];
    const [killed] = await Promise.all([killWhen(NODE_IS_STOPPED, "witness-rebuild"), lab.verb(...words)]);
    t.true(killed);
    await wallet.ended();
    await wallet.verb(...words);
    await wallet.nothingIsLost();
    await wallet.stop();
    t.is((await readCopy(wallet.main)).dataVersion, (await readCopy(wallet.replica)).dataVersion);
  },
);
