import test from "ava";
import fc from "fast-check";
import { EXIT } from "../../scripts/host/contract.ts";
import { isUp, parseUnitState } from "../../scripts/host/lightningd/unit.ts";
import { renderLightningdUnit } from "../../templates/lightningd-unit.ts";
import { escapePath, mountUnitName, unitWord } from "../../templates/systemd.ts";
import { lightningdDocument } from "../fixtures/lightningd/document.ts";

/** Values of a key of a unit file, each line for itself. */
function values(content: string, key: string): string[] {
  return content
    .split("\n")
    .filter((line) => line.startsWith(`${key}=`))
    .map((line) => line.slice(key.length + 1));
}

const unit = (...[document, others = ["conf"]]: Partial<Parameters<typeof renderLightningdUnit>>) =>
  renderLightningdUnit(document ?? lightningdDocument(), others);

test("the unit is started by the gate's start program and not again after a refusal", (t) => {
  const { content } = unit();
  t.deepEqual(values(content, "ExecStart"), ["/usr/local/lib/twofold/start-lightningd"]);
  const prevented = values(content, "RestartPreventExitStatus").join(" ").split(" ").map(Number);
  t.deepEqual(prevented, [EXIT.gateRefused, 2, 3, 4, 5, 6, 7, 8, 11, 20, 21, 22, 23, 24, 30]);
  t.deepEqual(values(content, "Restart"), ["on-failure"]);
  t.deepEqual(values(content, "StartLimitIntervalSec"), ["0"]);
});

test("the unit waits for the mounts and does not fail for good when one fails", (t) => {
  const { content } = unit(lightningdDocument({ mounts: ["/srv/lightning", "/mnt/usb-stick"] }));
  for (const key of ["After", "Wants"])
    t.true(values(content, key)[0]?.endsWith("srv-lightning.mount mnt-usb\\x2dstick.mount"), key);
  t.deepEqual(values(content, "RequiresMountsFor"), []);
  t.deepEqual(values(content, "Requires"), []);
});

test("the unit may write on its volumes and in the replica's directory, and nowhere else", (t) => {
  const { wallet } = lightningdDocument();
  const replica = { path: "/var/lib/twofold-replica/alice/lightningd.sqlite3", peek: { kind: "local" as const } };
  const { content } = unit(lightningdDocument({ wallet: { ...wallet, replica } }));
  t.deepEqual(values(content, "ReadWritePaths"), ["-/srv/lightning -/var/lib/twofold-replica/alice"]);
  t.deepEqual(values(content, "ProtectSystem"), ["strict"]);
});

test("what the process was started with changes with the config, the programs and the unit, and with nothing else", (t) => {
  const { desired, content } = unit();
  t.true(values(content, "Environment").includes(`TWOFOLD_DESIRED=${desired}`));
  t.is(unit().desired, desired);
  t.not(unit(lightningdDocument(), ["other conf"]).desired, desired);
  t.not(unit(lightningdDocument({ mounts: ["/srv/other"] })).desired, desired);
  t.is(unit(lightningdDocument({ peers: [] })).desired, desired);
});

test("a replica on another host is mounted before lightningd starts, and the process tells that it writes to it", (t) => {
  const { wallet } = lightningdDocument();
  const access = {
    host: "vault",
    address: "192.0.2.20",
    port: 22,
    user: "w",
    hostKey: "ssh-ed25519 AAAA",
    identityFile: "/k",
  };
  const replica = {
    path: "/var/lib/twofold-replica/alice/lightningd.sqlite3",
    peek: { kind: "peer" as const, access },
  };
  const { content } = unit(lightningdDocument({ wallet: { ...wallet, replica } }));
  for (const key of ["After", "Wants"]) t.true(values(content, key)[0]?.endsWith("twofold-replica.service"), key);
  t.true(values(content, "Environment").includes(`TWOFOLD_REPLICA=${replica.path}`));
});

test("a mount point's unit is named as systemd-escape names it", (t) => {
  // Each pair as printed by `systemd-escape --path --suffix=mount` of systemd 257.
  t.is(mountUnitName("/srv/lightning"), "srv-lightning.mount");
  t.is(mountUnitName("/mnt/usb-stick"), "mnt-usb\\x2dstick.mount");
  t.is(mountUnitName("/"), "-.mount");
  t.is(mountUnitName("/.hidden/a b"), "\\x2ehidden-a\\x20b.mount");
  t.is(mountUnitName("/srv/ö"), "srv-\\xc3\\xb6.mount");
});

test("an escaped path holds nothing that a unit name can't, and no two paths share one", (t) => {
  const path = fc
    .array(fc.stringMatching(/^[^/\0]+$/), { minLength: 1, maxLength: 4 })
    .map((parts) => `/${parts.join("/")}`);
  fc.assert(fc.property(path, (one) => /^[A-Za-z0-9:_.\\-]+$/.test(escapePath(one))));
  fc.assert(fc.property(path, path, (one, other) => one === other || escapePath(one) !== escapePath(other)));
  t.pass();
});

test("a path with a specifier or white space stays one word of a unit file", (t) => {
  t.is(unitWord("/srv/100%"), "/srv/100%%");
  t.is(unitWord('/srv/a "b"'), '"/srv/a \\"b\\""');
  t.is(unitWord("/srv/lightning"), "/srv/lightning");
});

const SHOWN = `ExecMainStatus=0
NRestarts=2
MainPID=314
ActiveEnterTimestamp=@1795406400
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
NeedDaemonReload=no
InvocationID=0123456789abcdef0123456789abcdef
`;

test("the state of the unit is read from systemctl show", (t) => {
  t.deepEqual(parseUnitState(SHOWN), {
    load: "loaded",
    enabled: "enabled",
    active: "active",
    sub: "running",
    invocation: "0123456789abcdef0123456789abcdef",
    mainPid: 314,
    lastStatus: 0,
    restarts: 2,
    needsReload: false,
    since: "2026-11-23T04:00:00.000Z",
  });
});

test("a unit between two tries counts as up, one that failed or ended does not", (t) => {
  const state = (active: string) => parseUnitState(SHOWN.replace("ActiveState=active", `ActiveState=${active}`));
  t.true(isUp(state("activating")));
  t.true(isUp(state("deactivating")));
  t.false(isUp(state("failed")));
  t.false(isUp(state("inactive")));
  t.is(state("failed").since, undefined);
});
