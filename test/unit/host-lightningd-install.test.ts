import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import fc from "fast-check";
import type { LightningdInstall } from "../../scripts/host/contract.ts";
import { type InstallFacts, planInstall } from "../../scripts/host/lightningd/install/install.ts";
import { programsOf, treeOf } from "../../scripts/host/lightningd/install/layout.ts";
import { describeLibrary, isElf, parseLdd } from "../../scripts/host/lightningd/install/libraries.ts";
import { changedEntries, readTree, writeManifest } from "../../scripts/host/lightningd/install/manifest.ts";
import {
  judgeSignature,
  parseChecksum,
  parsePrimaryFingerprints,
  releaseFiles,
} from "../../scripts/host/lightningd/install/release.ts";
import { Refusal } from "../../scripts/host/stage.ts";

const SHA = "0123456789ab".padEnd(64, "c");
const ARCHIVE: LightningdInstall = { kind: "archive", source: "/root/lightningd.tar.xz", sha256: SHA };
const RELEASE: LightningdInstall = {
  kind: "release",
  version: "v26.06.6",
  baseUrl: "https://example.org/v26.06.6",
  keyFile: "/root/key.asc",
  fingerprint: "A".repeat(40),
};
const root = { owner: "root", group: "root", mode: "0755" };
const PLACES = {
  installations: { kind: "directory" as const, ...root },
  programs: { kind: "symlink" as const, ...root, mode: "0777", target: programsOf(ARCHIVE) },
};
const unpacked = (given: object): InstallFacts =>
  ({ ...PLACES, kind: "unpacked", tree: { state: "absent" }, ...given }) as InstallFacts;
const refusalOf = (facts: InstallFacts, install: LightningdInstall) => {
  try {
    planInstall(facts, install);
  } catch (error) {
    return (error as Refusal).code;
  }
  return "none";
};

test("nothing is done for an installation that is complete and in use", (t) => {
  t.deepEqual(planInstall(unpacked({ tree: { state: "ok", version: "v26.06.6" } }), ARCHIVE), []);
});

test("an archive is unpacked to a place named by its checksum, then put in use", (t) => {
  const facts = unpacked({ archive: { sha256: SHA }, installations: undefined, programs: undefined });
  t.deepEqual(
    planInstall(facts, ARCHIVE).map(({ kind, item }) => [kind, item]),
    [
      ["make-directory", "directory:/opt/twofold"],
      ["lightningd/install", "program:/opt/twofold/lightningd-0123456789ab"],
      ["make-symlink", "symlink:/opt/twofold/bin"],
    ],
  );
});

test("a file that changed in an installation is named, and the installation is unpacked again", (t) => {
  const tree = { state: "damaged", changed: ["usr/bin/lightningd"] };
  const [action, ...others] = planInstall(unpacked({ tree, archive: { sha256: SHA } }), ARCHIVE);
  t.is(action?.kind, "lightningd/install");
  t.regex(action?.summary ?? "", /changed since: usr\/bin\/lightningd/);
  t.deepEqual(others, []);
});

test("refuses an archive with another checksum", (t) => {
  const error = t.throws(() => planInstall(unpacked({ archive: { sha256: "f".repeat(64) } }), ARCHIVE), {
    instanceOf: Refusal,
  });
  t.is(error?.code, "lightningd-checksum");
  t.true(error?.received.includes("f".repeat(64)) && error.received.includes(SHA));
});

test("refuses an archive that is not on the host", (t) => {
  t.is(refusalOf(unpacked({ archive: { sha256: undefined } }), ARCHIVE), "lightningd-archive-missing");
});

test("refuses a release on another processor or an old glibc before anything is downloaded", (t) => {
  t.is(refusalOf(unpacked({ system: { architecture: "arm64", glibc: "2.41" } }), RELEASE), "release-architecture");
  t.is(refusalOf(unpacked({ system: { architecture: "x64", glibc: "2.31" } }), RELEASE), "release-glibc");
});

test("refuses a preinstalled lightningd that isn't there, can't be run, or lacks libraries", (t) => {
  const install: LightningdInstall = { kind: "preinstalled", path: "/usr/bin/lightningd" };
  const facts = (given: object) => ({ ...PLACES, kind: "preinstalled", ...given }) as InstallFacts;
  const OK = { found: "ok", version: "v26.06.6", missingLibraries: [], missingPrograms: [] };
  t.is(refusalOf(facts({ found: "missing" }), install), "lightningd-preinstalled");
  t.is(refusalOf(facts({ found: "not executable" }), install), "lightningd-preinstalled");
  t.is(
    refusalOf(
      facts({ found: "ok", version: "unknown", missingLibraries: ["libpq.so.5"], missingPrograms: [] }),
      install,
    ),
    "lightningd-libraries",
  );
  t.deepEqual(
    planInstall(facts(OK), install).map(({ summary }) => summary),
    [`point /opt/twofold/bin to /usr/bin, now ${programsOf(ARCHIVE)}`],
  );
});

test("refuses a preinstalled program that isn't Core Lightning's, and one whose tools are elsewhere", (t) => {
  const install: LightningdInstall = { kind: "preinstalled", path: "/usr/bin/true" };
  const facts = (given: object) =>
    ({
      ...{
        ...PLACES,
        kind: "preinstalled",
        found: "ok",
        version: "v26.06.6",
        missingLibraries: [],
        missingPrograms: [],
      },
      ...given,
    }) as InstallFacts;
  for (const version of ["true (GNU coreutils) 9.7", "", "lightningd"])
    t.is(refusalOf(facts({ version }), install), "lightningd-preinstalled", version);
  t.is(refusalOf(facts({ missingPrograms: ["lightning-hsmtool"] }), install), "lightningd-preinstalled");
  for (const version of ["v26.06.6", "25.02", "v26.06.6-12-gabc1234-modded", "09ba2dc"])
    t.notThrows(() => planInstall(facts({ version }), install), version);
});

test("the archive is the newest whose Ubuntu has no newer glibc than the host", (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 35, max: 99 }), (minor) => {
      const ubuntu = minor >= 39 ? "24.04" : "22.04";
      return (
        releaseFiles("v26.06.6", "x64", `2.${minor}`).archive === `clightning-v26.06.6-Ubuntu-${ubuntu}-amd64.tar.xz`
      );
    }),
  );
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 34 }),
      (minor) => t.throws(() => releaseFiles("v1", "x64", `2.${minor}`)) !== undefined,
    ),
  );
  t.is(releaseFiles("v26.06.6", "x64", "3.0").signature, "SHA256SUMS-v26.06.6.asc");
});

test("a checksum is found by the file's whole name only", (t) => {
  const sums = `${"a".repeat(64)}  other-archive.tar.xz\n${"b".repeat(64)} *archive.tar.xz\n`;
  t.is(parseChecksum(sums, "archive.tar.xz"), "b".repeat(64));
  t.is(parseChecksum(sums, "chive.tar.xz"), undefined);
});

test("only primary keys count for the fingerprint of a key file", (t) => {
  const colons = `pub:-:255:22:0102030405060708:1700000000:::-:::scESC::::::23::0:
fpr:::::::::${"A".repeat(40)}:
uid:-::::1700000000::HASH::Somebody::::::::::0:
sub:-:255:18:1112131415161718:1700000000::::::e::::::23:
fpr:::::::::${"B".repeat(40)}:
pub:-:255:22:2122232425262728:1700000000:::-:::scESC::::::23::0:
fpr:::::::::${"C".repeat(40)}:
`;
  t.deepEqual(parsePrimaryFingerprints(colons), ["A".repeat(40), "C".repeat(40)]);
});

const OURS = "A".repeat(40);
const GOOD = `[GNUPG:] NEWSIG
[GNUPG:] GOODSIG AAAAAAAAAAAAAAAA Somebody
[GNUPG:] VALIDSIG ${"B".repeat(40)} 2026-06-01 1780000000 0 4 0 22 10 00 ${OURS}
`;
const STRANGER = `[GNUPG:] NEWSIG
[GNUPG:] ERRSIG DDDDDDDDDDDDDDDD 1 10 00 1780000000 9 -
[GNUPG:] NO_PUBKEY DDDDDDDDDDDDDDDD
`;

test("a release that the declared key signed is genuine, whoever else signed it", (t) => {
  t.is(judgeSignature(GOOD, OURS), undefined);
  t.is(judgeSignature(STRANGER + GOOD, OURS), undefined);
});

test("refuses a release without a good signature of the declared key", (t) => {
  t.regex(judgeSignature(STRANGER, OURS) ?? "", /other keys only: DDDD/);
  t.regex(judgeSignature("", OURS) ?? "", /no signature/);
  t.regex(judgeSignature(GOOD, "E".repeat(40)) ?? "", /no signature/);
  t.regex(judgeSignature(GOOD.replace("GOODSIG", "EXPKEYSIG"), OURS) ?? "", /expired/);
  t.regex(judgeSignature(`${GOOD}[GNUPG:] BADSIG AAAAAAAAAAAAAAAA Somebody\n`, OURS) ?? "", /does not fit/);
  t.regex(judgeSignature(GOOD.replaceAll("[GNUPG:] ", ""), OURS) ?? "", /no signature/);
});

test("libraries that the loader can't find are named with their packages", (t) => {
  const output = `	linux-vdso.so.1 (0x00007ffd)
	libpq.so.5 => not found
	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)
	libsodium.so.23 => not found
`;
  t.deepEqual(parseLdd(output).map(describeLibrary), [
    "libpq.so.5 (package libpq5)",
    "libsodium.so.23 (package libsodium23)",
  ]);
  t.deepEqual(parseLdd("	not a dynamic executable\n"), []);
  t.true(isElf(Buffer.from("\x7fELF\x02", "latin1")));
  t.false(isElf(Buffer.from("#!/bin/sh")));
});

test("a tree is whole until a file is changed, removed or added, or its record is gone", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "twofold-tree-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const tree = join(directory, "tree");
  t.deepEqual(await readTree(tree), { state: "absent" });
  mkdirSync(join(tree, "usr/bin"), { recursive: true });
  writeFileSync(join(tree, "usr/bin/lightningd"), "one");
  symlinkSync("lightningd", join(tree, "usr/bin/link"));
  t.deepEqual(await readTree(tree), { state: "damaged", changed: ["twofold-manifest.json"] });
  await writeManifest(tree, "v1");
  t.deepEqual(await readTree(tree), { state: "ok", version: "v1" });
  rmSync(join(tree, "usr/bin/link"));
  writeFileSync(join(tree, "usr/bin/lightningd"), "two!");
  writeFileSync(join(tree, "usr/bin/new"), "");
  t.deepEqual(await readTree(tree), {
    state: "damaged",
    changed: ["usr/bin/lightningd", "usr/bin/link", "usr/bin/new"],
  });
});

test("the same size with another time, mode or owner is a change too", (t) => {
  const entry = { size: 1, mode: "0755", uid: 0, modified: 1 };
  for (const changed of [{ modified: 2 }, { mode: "4755" }, { uid: 1000 }])
    t.deepEqual(changedEntries({ a: entry, b: entry }, { a: { ...entry, ...changed }, b: entry }), ["a"]);
});

test("an archive and a release lie apart, each under a name of its own", (t) => {
  t.is(treeOf(ARCHIVE as Exclude<LightningdInstall, { kind: "preinstalled" }>), "/opt/twofold/lightningd-0123456789ab");
  t.is(programsOf(RELEASE), "/opt/twofold/lightningd-v26.06.6/usr/bin");
});
