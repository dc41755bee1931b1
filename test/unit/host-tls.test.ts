import { X509Certificate } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { ensureAuthority } from "../../scripts/host/tls/authority.ts";
import { daysLeft, namesOf, unfit } from "../../scripts/host/tls/certificate.ts";
import { asn1Time, makeAuthority, makeKey, makeRequest, signRequest } from "../../scripts/host/tls/openssl.ts";

const work = mkdtempSync(join(tmpdir(), "twofold-tls-"));
test.after.always(() => rmSync(work, { recursive: true, force: true }));

async function authority(name: string) {
  const files = { key: join(work, `${name}.key`), certificate: join(work, `${name}.crt`) };
  await makeKey(files.key);
  writeFileSync(files.certificate, await makeAuthority(files.key, `twofold ${name}`));
  return { files, ca: readFileSync(files.certificate, "utf8") };
}

const identity = {
  role: "postgres" as const,
  commonName: "pg1",
  names: ["pg1", "pg1.example.org", "192.0.2.1", "2001:db8::1", "127.0.0.1"],
};

let own: Awaited<ReturnType<typeof authority>>;
let other: Awaited<ReturnType<typeof authority>>;
let key: string;
let certificate: string;

test.before(async () => {
  own = await authority("alice");
  other = await authority("mallory");
  const keyFile = join(work, "pg1.key");
  await makeKey(keyFile);
  key = readFileSync(keyFile, "utf8");
  certificate = await signRequest(await makeRequest(keyFile, "pg1"), identity, own.files);
});

const now = () => new Date();

test("a signed certificate serves for its key, names and authority, for a year and a month", (t) => {
  t.is(unfit({ certificate, ca: own.ca, key }, identity, now()), undefined);
  t.true(daysLeft(new X509Certificate(certificate), now()) >= 396);
  t.true(namesOf(new X509Certificate(certificate)).includes("192.0.2.1"));
});

test("a host whose clock is half an hour behind takes it too", (t) => {
  t.is(unfit({ certificate, ca: own.ca, key }, identity, new Date(Date.now() - 1_800_000)), undefined);
});

test("refuses another authority, another key, another name, and a time outside of it", (t) => {
  const year = 400 * 86_400_000;
  const otherKey = readFileSync(own.files.key, "utf8");
  t.regex(unfit({ certificate, ca: other.ca, key }, identity, now()) ?? "", /another authority/);
  t.regex(unfit({ certificate, ca: own.ca, key: otherKey }, identity, now()) ?? "", /another key/);
  t.regex(unfit({ certificate, ca: own.ca, key }, { ...identity, names: ["pg1"] }, now()) ?? "", /it names/);
  t.regex(unfit({ certificate, ca: own.ca, key }, { ...identity, commonName: "pg2" }, now()) ?? "", /not pg2/);
  t.regex(unfit({ certificate, ca: own.ca, key }, identity, new Date(Date.now() + year)) ?? "", /it ended/);
  t.regex(unfit({ certificate, ca: own.ca, key }, identity, new Date(Date.now() - year)) ?? "", /clock/);
});

test("names come from the one who signs, never from the request", async (t) => {
  const keyFile = join(work, "pg2.key");
  await makeKey(keyFile);
  const signed = await signRequest(
    await makeRequest(keyFile, "pg2"),
    { role: "node", names: ["alice.node"] },
    own.files,
  );
  t.deepEqual(namesOf(new X509Certificate(signed)), ["alice.node"]);
  t.deepEqual(new X509Certificate(signed).keyUsage, ["1.3.6.1.5.5.7.3.2"]);
});

test("a key is written so that its owner alone may read it", async (t) => {
  const keyFile = join(work, "mode.key");
  await makeKey(keyFile);
  const { statSync } = await import("node:fs");
  t.is(statSync(keyFile).mode & 0o777, 0o600);
});

test("openssl's times have no separators", (t) => {
  t.is(asn1Time(new Date("2026-11-23T05:06:07.089Z")), "20261123050607Z");
});

test("hosts that ask at once find one authority, whose key and certificate belong together", async (t) => {
  const place = join(work, "etc");
  mkdirSync(place);
  const directory = join(place, "ca");
  const found = await Promise.all(Array.from({ length: 6 }, () => ensureAuthority(directory, "alice")));
  t.is(new Set(found.map(({ certificate: file }) => readFileSync(file, "utf8"))).size, 1);
  t.deepEqual(readdirSync(place), ["ca"], "what the others made aside is gone");
  const [files = { key: "", certificate: "" }] = found;
  const ca = readFileSync(files.certificate, "utf8");
  const signed = await signRequest(await makeRequest(join(work, "pg1.key"), "pg1"), identity, files);
  t.is(unfit({ certificate: signed, ca, key }, identity, now()), undefined);
  await ensureAuthority(directory, "alice");
  t.is(readFileSync(files.certificate, "utf8"), ca, "an authority that is there is kept");
});
