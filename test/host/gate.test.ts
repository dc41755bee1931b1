/** The gate, the witness and the repairs on two real hosts; with the lab daemon, or the real one where it is given. */
import { dirname } from "node:path";
import test from "ava";
import { pauseContainer, resumeContainer } from "../helpers/pause.ts";
import {
  answers,
  digests,
  eventually,
  gate,
  MAIN,
  type Pair,
  provision,
  REAL,
  REPLICA_ON_VAULT,
  rpc,
  SECRET,
  start,
  startPair,
  stop,
  succeeded,
} from "./gate-pair.ts";

let pair: Pair;
/** main, replica and hsm_secret as the tests begin, with the versions that they had. */
const SAVED = "/root/saved";

test.before(async (t) => {
  if (!REAL) t.log("not proved with the real lightningd: TWOFOLD_LIGHTNINGD_ARCHIVE is not set");
  pair = await startPair();
});
test.after.always(async () => {
  await pair?.down();
});

const invoices = async (count: number) => {
  for (let made = 0; made < count; made++) await rpc(pair, "invoice", "1000", `l${process.hrtime.bigint()}`, "x");
};
const version = async () => {
  const { seen } = await gate(pair);
  return seen.main.state === "wallet" ? seen.main.version : -1;
};
const witnessed = async (host: "alice" | "vault") =>
  JSON.parse(await pair[host].must("cat", "/var/lib/twofold/witness/alice/mark.json")) as {
    dataVersion: number;
    exact: boolean;
  };

/** SQL in a copy of the stopped node, as the account that owns it. */
const inMain = (query: string) => sql("alice", MAIN, query);
const inReplica = (query: string) => sql("vault", REPLICA_ON_VAULT, query);
async function sql(host: "alice" | "vault", path: string, query: string): Promise<string> {
  const user = await pair[host].must("stat", "--format=%u", path);
  return pair[host].must("setpriv", `--reuid=${user}`, "--clear-groups", `--regid=${user}`, "sqlite3", path, query);
}
async function inBoth(query: string): Promise<void> {
  await inMain(query);
  await inReplica(query);
}
/** Two commits back, as an old copy would be. */
const BACK = "UPDATE vars SET intval = intval - 2 WHERE name = 'data_version'";

/** A stopped node whose files are kept, so that each test can spoil them and put them back. */
async function save(): Promise<void> {
  for (const [host, path] of [
    [pair.alice, "/srv/lightning/lightning/regtest"],
    [pair.vault, "/srv/replicas/alice/wallet"],
  ] as const) {
    await host.must("rm", "-rf", SAVED);
    await host.must("cp", "-a", path, SAVED);
  }
}
async function putBack(): Promise<void> {
  for (const [host, path] of [
    [pair.alice, "/srv/lightning/lightning/regtest"],
    [pair.vault, "/srv/replicas/alice/wallet"],
  ] as const)
    await host.must("sh", "-euc", `find "$1" -mindepth 1 -delete; cp -a "$2"/. "$1"`, "sh", path, SAVED);
}

test.serial("refuses to start a provisioned node without init, and makes nothing", async (t) => {
  const before = await digests(pair);
  t.regex(await start(pair, "refused"), /NO_FIRST_START_PERMISSION/);
  t.is(await digests(pair), before);
});

test.serial("refuses init while another host has not answered, or has something of the node", async (t) => {
  const silent = await pair.alice.program(["init"], []);
  t.is(silent.status, 3);
  t.regex(silent.stderr, /INIT-HOST-SILENT.*none of vault/s);
  await pair.vault.must("touch", REPLICA_ON_VAULT);
  const survey = JSON.parse(succeeded(await pair.vault.program(["init-survey", "vault", "alice"])));
  t.like(survey.found[0], { what: "replica", path: REPLICA_ON_VAULT });
  const found = await pair.alice.program(["init"], [survey]);
  t.is(found.status, 3);
  t.regex(found.stderr, /INIT-NODE-EXISTS/);
  await pair.vault.must("rm", REPLICA_ON_VAULT);
});

test.serial("an init that is cut short before the witness has its mark leaves a node that starts again", async (t) => {
  const marks = "/var/lib/twofold/witness/alice";
  const survey = JSON.parse(succeeded(await pair.vault.program(["init-survey", "vault", "alice"])));
  // The gate can see that there is no mark, and nobody but root can make one.
  await pair.alice.must("chown", "root:", marks);
  await pair.alice.must("chmod", "0755", marks);
  const cut = await pair.alice.program(["init"], [survey]);
  t.not(cut.status, 0, "the mark was written, so this proves nothing");
  await answers(pair);
  await pair.alice.must("chown", "bitcoin:", marks);
  await pair.alice.must("chmod", "0700", marks);
  await pair.alice.must("systemctl", "kill", "--signal=KILL", "lightningd.service");
  await answers(pair, 60);
});

test.serial(
  "init starts the node with both copies in the declared journal mode, and the witness knows it",
  async (t) => {
    const survey = JSON.parse(succeeded(await pair.vault.program(["init-survey", "vault", "alice"])));
    const report = JSON.parse(succeeded(await pair.alice.program(["init"], [survey])));
    t.is((await rpc(pair, "getinfo")).id, report.nodeId);
    await invoices(5);
    const { running, decision, seen } = await gate(pair);
    t.true(running);
    t.is(decision.verdict, "start", JSON.stringify(decision));
    t.is(seen.replica?.state, "wallet");
    if (seen.replica?.state === "wallet" && seen.main.state === "wallet") {
      t.is(seen.replica.journalMode, seen.journalMode);
      t.is(seen.replica.version, seen.main.version);
    }
    t.is((await pair.alice.exec(["test", "-e", "/var/lib/twofold/node/first-start.json"])).status, 1);
    const again = JSON.parse(succeeded(await pair.alice.program(["init"], [survey])));
    t.is(again.nodeId, report.nodeId);
  },
);

test.serial("while the node runs its witness follows, one commit behind at most after the last sample", async (t) => {
  await invoices(3);
  const seen = await version();
  await eventually("both marks follow", 60, async () =>
    [await witnessed("alice"), await witnessed("vault")].every(({ dataVersion }) => dataVersion === seen - 1),
  );
  t.false((await witnessed("vault")).exact);
});

test.serial("a clean stop is recorded exactly on both hosts, and the next start needs no check", async (t) => {
  await stop(pair);
  const seen = await version();
  t.like(await witnessed("alice"), { dataVersion: seen, exact: true });
  t.like(await witnessed("vault"), { dataVersion: seen, exact: true });
  const record = JSON.parse(await pair.alice.must("cat", "/var/lib/twofold/witness/alice/clean-stop.json"));
  t.truthy(record.main);
  t.truthy(record.replica, "the replica is not recorded, so each start would check it wholly");
  t.is((await gate(pair)).decision.code, "COPIES_AGREE");
  // What a check would find: a page is spoiled, and by size, inode and time each file is the one that was closed.
  for (const [host, path] of [
    [pair.vault, REPLICA_ON_VAULT],
    [pair.alice, MAIN],
  ] as const) {
    await host.must("cp", "--preserve=all", path, "/root/closed");
    const last = Number(await host.must("stat", "--format=%s", path)) / 4096 - 1;
    await host.must("dd", "if=/dev/urandom", `of=${path}`, "bs=4096", `seek=${last}`, "count=1", "conv=notrunc");
    await host.must("touch", "--reference=/root/closed", path);
    t.is((await gate(pair)).decision.code, "COPIES_AGREE", `${path} was checked`);
    await host.must("touch", path);
    t.regex((await gate(pair)).decision.code, /_DAMAGED$/, `nothing is wrong with ${path}, so this proves nothing`);
    await host.must("cp", "--preserve=all", "/root/closed", path);
  }
});

test.serial("a node that was killed starts again by itself, with every invoice", async (t) => {
  await start(pair, "answers");
  const before = (await rpc(pair, "listinvoices")).invoices.length;
  await invoices(4);
  await pair.alice.must("systemctl", "kill", "--signal=KILL", "lightningd.service");
  await answers(pair, 60);
  t.is((await rpc(pair, "listinvoices")).invoices.length, before + 4);
});

test.serial("a node killed five times while it commits starts each time, and keeps what it acknowledged", async (t) => {
  await start(pair, "answers");
  // Not by the time of day: the first start may lie in the same second.
  const cursor = /^-- cursor: (.+)$/m.exec(await pair.alice.must("journalctl", "--lines=1", "--show-cursor"))?.[1];
  const acknowledged: string[] = [];
  for (let round = 0; round < 5; round++) {
    let killed = false;
    const writing = (async () => {
      while (!killed) {
        const label = `kill-${round}-${acknowledged.length}`;
        const made = await rpc(pair, "invoice", "1000", label, "x").catch(() => undefined);
        if (made === undefined) return;
        acknowledged.push(label);
      }
    })();
    const enough = acknowledged.length + 2 + round;
    await eventually("some commits were acknowledged", 60, async () => acknowledged.length >= enough);
    await pair.alice.must("systemctl", "kill", "--signal=KILL", "lightningd.service");
    killed = true;
    await writing;
    await answers(pair, 90);
  }
  const said = await pair.alice.must(
    "journalctl",
    "--unit=lightningd.service",
    "--output=cat",
    `--after-cursor=${cursor}`,
  );
  t.is(said.match(/gate: start/g)?.length, 5, said);
  t.notRegex(said, /REFUSED/);
  const kept = new Set((await rpc(pair, "listinvoices")).invoices.map(({ label }: { label: string }) => label));
  t.deepEqual(
    acknowledged.filter((label) => !kept.has(label)),
    [],
  );
});

test.serial(
  "a lightningd that was started by hand keeps the unit's one waiting, and ends the wait when it ends",
  async (t) => {
    await stop(pair);
    const user = ["setpriv", "--reuid=bitcoin", "--regid=bitcoin", "--init-groups"];
    const byHand = pair.alice.exec([...user, "/opt/twofold/bin/lightningd", "--conf=/etc/lightningd/lightningd.conf"]);
    await answers(pair, 60);
    t.regex(await start(pair, { waits: "IN_USE" }), /kill \d+/);
    await rpc(pair, "stop");
    await byHand;
    await answers(pair, 60);
    t.not(await pair.alice.must("systemctl", "show", "--value", "--property=MainPID", "lightningd.service"), "0");
  },
);

test.serial("a lightningd in a container, which has another name for the wallet, keeps it waiting too", async (t) => {
  await stop(pair);
  const inContainer = `
    sed 's|/srv/lightning/lightning|/mnt|g' /etc/lightningd/lightningd.conf > /run/container.conf
    chmod 0644 /run/container.conf
    mount --bind /srv/lightning/lightning /mnt
    exec setpriv --reuid=bitcoin --regid=bitcoin --init-groups /opt/twofold/bin/lightningd --conf=/run/container.conf`;
  const container = pair.alice.exec(["unshare", "--mount", "--propagation=private", "sh", "-euc", inContainer]);
  await answers(pair, 60);
  // The real one is known by the lock on its pid file, which the lab daemon takes through another process.
  t.regex(
    await start(pair, { waits: "IN_USE" }),
    /holds \/srv\/lightning\/\S+\/lightningd-regtest\.pid|has \/srv\/lightning\/\S+\/lightningd\.sqlite3\S* open/,
  );
  await rpc(pair, "stop");
  await container;
  await answers(pair, 60);
});

test.serial(
  "what the gate refuses stays byte-identical: main, replica and hsm_secret, spoiled one by one",
  async (t) => {
    await stop(pair);
    await save();
    const alice = (...command: string[]) => pair.alice.must(...command);
    const other = `UPDATE vars SET blobval = x'02${"ab".repeat(32)}' WHERE name = 'node_id'`;
    const cases: [string, string, () => Promise<unknown>][] = [
      ["main deleted", "MAIN_MISSING", () => alice("rm", MAIN)],
      ["main emptied", "MAIN_MISSING", () => alice("truncate", "--size=0", MAIN)],
      ["main cut in half", "MAIN_DAMAGED", () => alice("truncate", "--size=8192", MAIN)],
      ["main older than the replica", "REPLICA_NEWER", () => inMain(BACK)],
      ["both copies rolled back", "ROLLED_BACK", () => inBoth(BACK)],
      ["main of another node", "MAIN_OTHER_NODE", () => inMain(other)],
      ["replica of another node", "REPLICA_OTHER_NODE", () => inReplica(other)],
      ["replica deleted", "REPLICA_MISSING", () => pair.vault.must("rm", REPLICA_ON_VAULT)],
      [
        "replica's directory wiped",
        "REPLICA_MISSING",
        () => pair.vault.must("find", dirname(REPLICA_ON_VAULT), "-mindepth", "1", "-delete"),
      ],
      [
        "replica damaged",
        "REPLICA_DAMAGED",
        () =>
          pair.vault.must(
            "dd",
            "if=/dev/urandom",
            `of=${REPLICA_ON_VAULT}`,
            "bs=4096",
            "seek=1",
            "count=3",
            "conv=notrunc",
            "status=none",
          ),
      ],
      ["hsm_secret gone", "SECRET_MISSING", () => alice("rm", SECRET)],
      [
        "hsm_secret of another node",
        "SECRET_OTHER_NODE",
        () =>
          alice(
            "sh",
            "-c",
            `head -c 32 /dev/urandom > ${SECRET}.new && chown bitcoin: ${SECRET}.new && chmod 0400 ${SECRET}.new && mv ${SECRET}.new ${SECRET}`,
          ),
      ],
      ["hsm_secret readable by others", "SECRET_MODE", () => alice("chmod", "0644", SECRET)],
      ["hsm_secret of another owner", "SECRET_OWNER", () => alice("chown", "root:", SECRET)],
    ];
    for (const [title, code, spoil] of cases) {
      await spoil();
      const before = await digests(pair);
      const said = await start(pair, "refused");
      t.regex(said, new RegExp(`REFUSED \\(${code}\\)`), `${title}: ${said}`);
      t.regex(said, /would have happened: /);
      t.regex(said, /to do: /);
      t.is(await digests(pair), before, `${title}: the refusal changed something`);
      await putBack();
    }
    await start(pair, "answers");
  },
);

test.serial("an old file put beneath the -wal of a killed node is refused, main's and the replica's", async (t) => {
  // The files that were saved are of before this start: the -wal that it leaves is to begin later.
  await invoices(2);
  await stop(pair);
  await start(pair, "answers");
  await invoices(2);
  await pair.alice.must("systemctl", "kill", "--signal=KILL", "lightningd.service");
  await stop(pair);
  const copies = [
    ["main", pair.alice, MAIN],
    ["replica", pair.vault, REPLICA_ON_VAULT],
  ] as const;
  for (const [which, host, path] of copies) {
    await host.must("test", "-s", `${path}-wal`);
    await host.must("cp", "--preserve=all", path, `${SAVED}/right`);
    // Into the same file, as an operator's cp does.
    await host.must("cp", `${SAVED}/lightningd.sqlite3`, path);
    const before = await digests(pair);
    const said = await start(pair, "refused");
    t.regex(said, /REFUSED \(JOURNAL_STRANGE\)/, which);
    t.regex(said, which === "main" ? /restore replica/ : /resync replica/);
    t.is(await digests(pair), before, which);
    await host.must("cp", `${SAVED}/right`, path);
  }
  await start(pair, "answers");
});

test.serial("a main that lost commits is restored from the replica, and the old one is kept aside", async (t) => {
  await stop(pair);
  const before = (await version()) as number;
  await inMain(BACK);
  t.regex(await start(pair, "refused"), /restore replica/);
  const { status, stdout, stderr } = await pair.alice.program(["restore", "replica"]);
  t.is(status, 0, stderr);
  const report = JSON.parse(stdout);
  t.is(report.version, before);
  t.is((await pair.alice.exec(["test", "-e", `${report.aside}/lightningd.sqlite3`])).status, 0);
  t.regex(await pair.alice.must("cat", "/var/lib/twofold/node/audit.log"), /main restored from the replica/);
  await start(pair, "answers");
  t.is((await version()) >= before, true);
  await stop(pair);
  const needless = await pair.alice.program(["restore", "replica"]);
  t.is(needless.status, 3, "main is right again");
  t.regex(needless.stderr, /RESTORE-MAIN-NOT-OLDER/);
});

test.serial("a lost replica is written anew from main and compared", async (t) => {
  await pair.vault.must(
    "rm",
    "-f",
    REPLICA_ON_VAULT,
    `${REPLICA_ON_VAULT}-wal`,
    `${REPLICA_ON_VAULT}-journal`,
    `${REPLICA_ON_VAULT}-shm`,
  );
  t.regex(await start(pair, "refused"), /REPLICA_MISSING/);
  const { status, stderr } = await pair.alice.program(["resync", "replica", "--reason", "the test deleted it"]);
  t.is(status, 0, stderr);
  t.is((await gate(pair)).decision.code, "COPIES_AGREE");
  await start(pair, "answers");
});

test.serial(
  "each of two marks counts: a lost or older one is made good, one that is ahead or strange is refused",
  async (t) => {
    const marks = { alice: pair.alice, vault: pair.vault };
    const file = "/var/lib/twofold/witness/alice/mark.json";
    await stop(pair);
    const seen = await version();
    const right = await pair.vault.must("cat", file);
    const write = (host: keyof typeof marks, text: string) =>
      marks[host].must("sh", "-euc", 'echo "$1" > "$2"', "sh", text, file);
    const changed = (change: object) => JSON.stringify({ ...JSON.parse(right), ...change });

    const refusals: [string, string, string][] = [
      ["ahead", "ROLLED_BACK", changed({ dataVersion: seen + 1 })],
      ["another node's", "WITNESS_OTHER_NODE", changed({ nodeId: `02${"ab".repeat(32)}` })],
      ["cut short", "WITNESS_DAMAGED", right.slice(0, 40)],
    ];
    for (const host of ["alice", "vault"] as const) {
      for (const [title, code, text] of refusals) {
        await write(host, text);
        const before = await digests(pair);
        t.regex(await start(pair, "refused"), new RegExp(`REFUSED \\(${code}\\)`), `the mark on ${host} is ${title}`);
        t.is(await digests(pair), before, `the mark on ${host} is ${title}`);
        await write(host, right);
      }
    }
    for (const host of ["alice", "vault"] as const) {
      for (const spoil of [
        () => marks[host].must("rm", file),
        () => write(host, changed({ dataVersion: seen - 4, exact: false })),
      ]) {
        await spoil();
        await start(pair, "answers");
        await invoices(1);
        await stop(pair);
        t.deepEqual(await witnessed(host), {
          ...(await witnessed("alice")),
          dataVersion: await version(),
          exact: true,
        });
      }
      await write(host, right);
    }
    await start(pair, "answers");
  },
);

test.serial("a lost witness is refused, and rebuilt from all copies with a reason", async (t) => {
  await stop(pair);
  const seen = await version();
  for (const host of [pair.alice, pair.vault]) await host.must("rm", "/var/lib/twofold/witness/alice/mark.json");
  t.regex(await start(pair, "refused"), /WITNESS_MISSING/);
  t.is((await pair.alice.program(["witness-rebuild"])).status, 3);
  const rebuilt = succeeded(await pair.alice.program(["witness-rebuild", "--reason", "the test deleted it"]));
  const { mark } = JSON.parse(rebuilt);
  t.is(mark.dataVersion, seen);
  succeeded(await pair.vault.program(["witness-replace"], mark));
  t.like(await witnessed("vault"), { dataVersion: seen });
  await start(pair, "answers");
});

const REBUILD = ["witness-rebuild", "--reason", "another node's mark lies there"];

test.serial("a rebuild of a running node starts it only when the other hosts have the mark too", async (t) => {
  const file = "/var/lib/twofold/witness/alice/mark.json";
  const other = `02${"ab".repeat(32)}`;
  const right = await pair.vault.must("cat", file);
  const wrong = JSON.stringify({ ...JSON.parse(right), nodeId: other });
  await pair.vault.must("sh", "-euc", 'echo "$1" > "$2"', "sh", wrong, file);
  const unnamed = await pair.alice.program(REBUILD);
  t.is(unnamed.status, 3);
  t.regex(unnamed.stderr, new RegExp(`REBUILD-MARK-OTHER-NODE.*--replace-node ${other}`, "s"));
  // The gate refuses it now, for the mark that is still there.
  t.regex(unnamed.stderr, /WITNESS_OTHER_NODE/);
  await pair.vault.must("sh", "-euc", 'echo "$1" > "$2"', "sh", right, file);
  await start(pair, "answers");

  await pair.vault.must("sh", "-euc", 'echo "$1" > "$2"', "sh", wrong, file);
  const accepted = ["--replace-node", other];
  const { mark, stopped } = JSON.parse(succeeded(await pair.alice.program([...REBUILD, ...accepted])));
  t.true(stopped);
  t.is((await pair.alice.exec(["systemctl", "is-active", "lightningd.service"])).stdout.trim(), "inactive");
  t.is((await pair.vault.program(["witness-replace"], mark)).status, 3);
  succeeded(await pair.vault.program(["witness-replace", ...accepted], mark));
  succeeded(await pair.alice.program(["resume"]));
  await answers(pair);
  await stop(pair);
  t.regex(await pair.alice.must("stat", "--format=%U %a", file), /^bitcoin 600$/);
  succeeded(await pair.alice.program(["resume"]));
  t.is((await pair.alice.exec(["systemctl", "is-active", "lightningd.service"])).stdout.trim(), "inactive");
  await start(pair, "answers");
});

test.serial("a repair whose watcher is gone is finished: audited, compared, and the node runs again", async (t) => {
  const reason = "nobody is left to watch";
  const audit = async () => await pair.alice.must("cat", "/var/lib/twofold/node/audit.log");
  t.false((await audit()).includes(reason));
  const before = await pair.alice.must("systemctl", "show", "--value", "--property=InvocationID", "lightningd.service");
  // The pipe closes after the first line, as that of a connection that died.
  const resync = 'node /usr/local/lib/twofold/current resync replica --reason "$1" 2>&1 | head --lines=1';
  await pair.alice.must("sh", "-c", resync, "sh", reason);
  await eventually("the repair is in the audit", 60, async () => (await audit()).includes(reason));
  await answers(pair, 60);
  const after = await pair.alice.must("systemctl", "show", "--value", "--property=InvocationID", "lightningd.service");
  t.not(after, before);
});

test.serial("a replica's volume without room is found before the node is stopped for its copy", async (t) => {
  const unit = () => pair.alice.must("systemctl", "show", "--value", "--property=InvocationID", "lightningd.service");
  const before = await unit();
  const filler = "/srv/replicas/filler";
  const free = Number(await pair.vault.must("stat", "--file-system", "--format=%a", "/srv/replicas"));
  const block = Number(await pair.vault.must("stat", "--file-system", "--format=%S", "/srv/replicas"));
  await pair.vault.must("fallocate", `--length=${free * block - 12 * 2 ** 20}`, filler);
  const { status, stderr } = await pair.alice.program(["resync", "replica", "--reason", "there is no room"]);
  await pair.vault.must("rm", filler);
  t.is(status, 3);
  t.regex(stderr, /RECOVERY-NO-ROOM/);
  t.is(await unit(), before);
});

/** What a clock that is off does is made for the gate and for lightningd alone: a container shares the machine's clock. */
const FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
async function setClock(offset: string | undefined): Promise<void> {
  const directory = "/run/systemd/system/lightningd.service.d";
  const environment = `LD_PRELOAD=${FAKETIME} FAKETIME=${offset} FAKETIME_DONT_FAKE_MONOTONIC=1`;
  await pair.alice.must("mkdir", "-p", directory);
  if (offset === undefined) await pair.alice.must("rm", `${directory}/clock.conf`);
  else
    await pair.alice.must(
      "sh",
      "-euc",
      'printf "[Service]\\nEnvironment=%s\\n" "$1" > "$2"',
      "sh",
      environment,
      `${directory}/clock.conf`,
    );
  await pair.alice.must("systemctl", "daemon-reload");
}
/** How far ahead a time is that the unit has written down, in minutes. */
const minutesAhead = (at: string) => Math.round((Date.parse(at) - Date.now()) / 60_000);

test.serial(
  "a clock that is an hour off, either way, keeps no node from starting and lets no older state through",
  async (t) => {
    await pair.alice.must("apt-get", "--quiet", "update");
    await pair.alice.must("apt-get", "install", "--yes", "--no-install-recommends", "libfaketime");
    const known = new Set<string>();
    for (const [offset, minutes] of [
      ["+1h", 60],
      ["-1h", -60],
    ] as const) {
      await stop(pair);
      await setClock(offset);
      await start(pair, "answers");
      const record = JSON.parse(await pair.alice.must("cat", "/run/lightningd/gate.json")) as { at: string };
      t.true(Math.abs(minutesAhead(record.at) - minutes) <= 2, `the gate's clock is not ${offset} off: ${record.at}`);
      const label = `clock${offset}`;
      const invoice = await rpc(pair, "invoice", "1000", label, "x", "600");
      t.true(
        Math.abs(invoice.expires_at * 1000 - Date.now() - (minutes + 10) * 60_000) < 120_000,
        "lightningd's clock is right",
      );
      known.add(label);
      await pair.alice.must("systemctl", "kill", "--signal=KILL", "lightningd.service");
      await answers(pair, 60);
      await stop(pair);
      const mark = await witnessed("vault");
      t.like(mark, { dataVersion: await version(), exact: true });
      await save();
      await inBoth(BACK);
      t.regex(await start(pair, "refused"), /REFUSED \(ROLLED_BACK\)/);
      await putBack();
    }
    // Marks and records of an hour ahead lie there now.
    await setClock(undefined);
    await start(pair, "answers");
    const kept = new Set((await rpc(pair, "listinvoices")).invoices.map(({ label }: { label: string }) => label));
    t.true([...known].every((label) => kept.has(label)));
  },
);

/** Schema of v25.12 in the wallet of v26.06, as Core Lightning's own lightning-downgrade leaves it (wallet/migrations.c, revertsql). */
const AS_OF_V25_12 = "ALTER TABLE offers DROP COLUMN force_paths; UPDATE version SET version = 280";
const SCHEMA_OF_V26_06 = "282";

(REAL ? test.serial : test.serial.skip)(
  "an upgrade of lightningd that migrates the schema reaches both copies alike, and gate and witness go on",
  async (t) => {
    await stop(pair);
    t.is(await inMain("SELECT version FROM version"), SCHEMA_OF_V26_06, "this test knows the schema of v26.06 alone");
    await inBoth(AS_OF_V25_12);
    const before = await version();
    t.is((await gate(pair)).decision.code, "COPIES_AGREE");
    await start(pair, "answers");
    await stop(pair);
    const upgraded = `SELECT (SELECT version FROM version), (SELECT count(*) FROM db_upgrades WHERE upgrade_from = 280), (SELECT count(*) FROM pragma_table_info('offers') WHERE name = 'force_paths')`;
    t.is(await inMain(upgraded), `${SCHEMA_OF_V26_06}|1|1`);
    t.is(await inReplica(upgraded), `${SCHEMA_OF_V26_06}|1|1`);
    t.is(await inReplica(".sha3sum --schema"), await inMain(".sha3sum --schema"));
    const after = await version();
    t.log(`data_version ${before} before the upgrade, ${after} after it`);
    t.true(after > before);
    t.like(await witnessed("vault"), { dataVersion: after, exact: true });
    t.is((await gate(pair)).decision.code, "COPIES_AGREE");
    await start(pair, "answers");
  },
);

test.serial(
  "with the vault dead the gate waits visibly, goes on in degraded mode, and comes back to two copies",
  async (t) => {
    await stop(pair);
    await pauseContainer(pair.vault.container);
    try {
      t.regex(
        await start(pair, { waits: "NOT_MOUNTED" }).catch(() => start(pair, { waits: "WITNESS_UNREACHABLE" })),
        /waiting/,
      );
      const degraded = await pair.alice.program([
        "degrade",
        "replica",
        "--for",
        "1h",
        "--reason",
        "the vault is paused by a test",
      ]);
      t.is(degraded.status, 0, degraded.stderr);
      const witness = ["degrade", "witness", "--for", "1h", "--reason", "its witness is paused too"];
      const other = await pair.alice.program(witness);
      t.is(other.status, 3);
      t.regex(other.stderr, /DEGRADE-REPLICA-FIRST/);
      await answers(pair, 120);
      await invoices(3);
    } finally {
      await resumeContainer(pair.vault.container);
    }
    await provision(pair);
    await answers(pair, 60);
    const inTheWay = `${dirname(REPLICA_ON_VAULT)}/.lightningd.sqlite3.twofold-part`;
    await pair.vault.must("mkdir", inTheWay);
    const failed = await pair.alice.program(["degrade", "end"]);
    t.is(failed.status, 1, failed.stderr);
    await answers(pair, 60);
    t.is((await gate(pair)).decision.code, "DEGRADED", "the mode is over though the copies were not compared");
    await pair.vault.must("rmdir", inTheWay);
    const { status, stderr } = await pair.alice.program(["degrade", "end"]);
    t.is(status, 0, stderr);
    const { decision } = await gate(pair);
    t.is(decision.code, "COPIES_AGREE", JSON.stringify(decision));
    t.is((await pair.alice.exec(["test", "-e", "/var/lib/twofold/node/degraded.json"])).status, 1);
  },
);

test.serial("a second apply of every stage changes nothing", async (t) => {
  for (const [host, documents] of pair.documents) {
    const found = await (host === "alice" ? pair.alice : pair.vault).drift(...documents);
    t.deepEqual(found, []);
  }
});
