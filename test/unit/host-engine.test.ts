import test from "ava";
import { toSteps } from "../../scripts/host/actions.ts";
import { listsAreStale } from "../../scripts/host/apt.ts";
import { leftOver } from "../../scripts/host/engine.ts";
import { describeError } from "../../scripts/host/errors.ts";
import { planFile, planRunningUnit, planSymlink } from "../../scripts/host/planning.ts";
import { CommandFailed, run } from "../../scripts/host/process.ts";
import { mountAt, parseMounts, parsePackages, parseUnits } from "../../scripts/host/read.ts";
import { parseDocumentsText, parseDocumentText } from "../../scripts/host/schema.ts";
import { type CommonAction, Refusal } from "../../scripts/host/stage.ts";

const install = (name: string): CommonAction => ({
  kind: "install-package",
  item: `package:${name}`,
  summary: "",
  package: name,
});
const reload: CommonAction = { kind: "daemon-reload", item: "unit:a.service", summary: "reload", consequence: true };
const restart: CommonAction = {
  kind: "restart-unit",
  item: "unit:a.service",
  summary: "restart",
  unit: "a.service",
  consequence: true,
};

test("packages that follow one another are one installation; what stands between keeps its place", (t) => {
  const steps = toSteps([install("a"), install("b"), reload, install("c")]);
  t.deepEqual(
    steps.map((step) => (step.kind === "packages" ? step.actions.map((action) => action.package) : step.kind)),
    [["a", "b"], "common", ["c"]],
  );
});

test("a consequence that an interrupted run left is done once, whatever its sentence says", (t) => {
  t.deepEqual(leftOver([reload, restart], [{ ...reload, summary: "another sentence" }]), [restart]);
  t.deepEqual(leftOver([], [reload]), []);
});

test("package lists are updated when a package isn't known or its file is gone, not when a disk is full", (t) => {
  t.true(listsAreStale("E: Unable to locate package btrfs-progs"));
  t.true(listsAreStale("E: Failed to fetch http://deb/pool/x.deb  404  Not Found [IP: 192.0.2.1 80]"));
  t.false(listsAreStale("E: Write error - write (28: No space left on device)"));
});

test("packages count as installed only when they are wholly", (t) => {
  t.deepEqual(parsePackages("cron installed\nbtrfs-progs half-configured\ncurl config-files\n"), new Set(["cron"]));
});

test("units are told apart by the order in which they were asked for, since an alias answers with another name", (t) => {
  const shown =
    "LoadState=loaded\nActiveState=active\nMainPID=42\nNeedDaemonReload=yes\nUnitFileState=enabled\n\nLoadState=not-found\nActiveState=inactive\n";
  const units = parseUnits(["ntp.service", "b.service"], shown);
  t.like(units.get("ntp.service"), { active: "active", mainPid: 42, needsReload: true, enabled: "enabled" });
  t.like(units.get("b.service"), { load: "not-found", active: "inactive", enabled: "" });
});

test("mountinfo: the uppermost mount counts, escapes are undone, and both kinds of options are there", (t) => {
  const mounts = parseMounts(
    "36 35 98:0 / /srv/my\\040disk rw,noatime shared:1 - ext4 /dev/sda1 rw\n" +
      "37 35 0:89 / /srv/my\\040disk ro,relatime - btrfs /dev/sdb rw,autodefrag,subvol=/\n",
  );
  const mount = mountAt(mounts, "/srv/my disk");
  t.is(mount?.source, "/dev/sdb");
  for (const option of ["ro", "autodefrag", "rw"]) t.true(mount?.options.includes(option));
});

test("a file is written for another content, given back for another owner, and left alone otherwise", (t) => {
  const found = { kind: "file", owner: "root", group: "root", mode: "0644", content: "a\n" } as const;
  t.deepEqual(planFile("/etc/x", found, "a\n"), []);
  t.is(planFile("/etc/x", found, "b\n")[0]?.kind, "write-file");
  t.is(planFile("/etc/x", undefined, "a\n")[0]?.kind, "write-file");
  t.is(planFile("/etc/x", { ...found, owner: "op" }, "a\n")[0]?.kind, "set-ownership");
});

test("refuses to replace a directory by a file or a symlink", (t) => {
  const directory = { kind: "directory", owner: "root", group: "root", mode: "0755" } as const;
  t.throws(() => planFile("/etc/x", directory, "a"), { message: /HOST-IN-THE-WAY/ });
  t.throws(() => planSymlink("/etc/x", directory, "y"), { message: /HOST-IN-THE-WAY/ });
});

test("a static unit is started without being enabled", (t) => {
  const unit = {
    load: "loaded",
    active: "inactive",
    sub: "dead",
    enabled: "static",
    needsReload: false,
    mainPid: 0,
    startedAt: 0,
  };
  t.deepEqual(
    planRunningUnit("a.service", unit).map(({ kind }) => kind),
    ["start-unit"],
  );
});

test("a program's arguments are passed as they are, and its status is an answer", async (t) => {
  const ran = await run("printf", ["%s|%s", "$(id) ; 'x'", "two\nlines"]);
  t.deepEqual(ran, { status: 0, stdout: "$(id) ; 'x'|two\nlines", stderr: "" });
  t.is((await run("false", [])).status, 1);
  t.is((await run("/nonexistent/program", [])).status, 127);
});

test("lines are handed on as they come, the last one without its newline too", async (t) => {
  const lines: string[] = [];
  await run("printf", ["one\ntwo\nthree"], { onLine: (line) => lines.push(line) });
  t.deepEqual(lines, ["one", "two", "three"]);
});

test("a refusal, a failed program and a defect end with their own words and statuses", (t) => {
  const refusal = new Refusal({ code: "X-Y", what: "w", received: "r", why: "y", fix: "f" });
  t.like(describeError(refusal), {
    status: 3,
    text: "refused, nothing was changed: X-Y: w\n  received: r\n  why: y\n  to do: f",
  });
  const failed = new CommandFailed("mount", ["/srv"], { status: 32, stdout: "", stderr: "mount: no such device\n" });
  t.like(describeError(failed), { status: 1 });
  t.regex(describeError(failed).text, /'mount \/srv' ended with status 32:\n {2}mount: no such device/);
  t.regex(describeError(new TypeError("x is undefined")).text, /a defect of twofold.*TypeError[\s\S]*at /);
});

const BASE = { stage: "base", host: "alice", packages: ["cron"], user: { name: "bitcoin", home: "/var/lib/bitcoin" } };
const refusalOf = (value: unknown) =>
  messageOf(() => parseDocumentText(typeof value === "string" ? value : JSON.stringify(value)));
function messageOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return error instanceof Refusal ? error.message : `not a refusal: ${error}`;
  }
  return "accepted";
}

test("a document as the contract says is taken, alone and in an array", (t) => {
  t.deepEqual(parseDocumentText(JSON.stringify(BASE)), BASE as never);
  t.deepEqual(parseDocumentsText(JSON.stringify([BASE])), [BASE] as never);
});

test("refuses what is not a document, and says where it is wrong and what came", (t) => {
  t.regex(refusalOf(""), /not JSON\n {2}received: nothing/);
  t.regex(refusalOf("{"), /not JSON/);
  t.regex(refusalOf({ stage: "bases" }), /unknown stage; known ones: base,[\s\S]*received: "bases"/);
  t.regex(refusalOf(null), /unknown stage/);
  t.regex(refusalOf({ ...BASE, packages: ["cron; reboot"] }), /packages\.0: a Debian package name \("cron; reboot"\)/);
  t.regex(refusalOf({ ...BASE, user: { name: "bitcoin" } }), /user\.home: .*\(nothing\)/);
  t.regex(refusalOf({ ...BASE, colour: "red" }), /colour/);
  t.is(
    messageOf(() => parseDocumentsText(JSON.stringify(BASE))).split("\n")[0],
    "HOST-DOCUMENT: documents come as a JSON array",
  );
});

test("refuses schedules and mount points that would be more than one field of a crontab", (t) => {
  const maintenance = {
    stage: "maintenance",
    host: "a",
    mounts: ["/srv"],
    balance: "0 0 * * *",
    scrub: "0 0 * * 0",
    deviceStats: "7 * * * *",
  };
  t.is(refusalOf(maintenance), "accepted");
  t.regex(refusalOf({ ...maintenance, scrub: "0 0 * * 0\n* * * * * root reboot" }), /scrub: five cron fields/);
  t.regex(refusalOf({ ...maintenance, mounts: ["/srv; reboot"] }), /mounts\.0/);
});
