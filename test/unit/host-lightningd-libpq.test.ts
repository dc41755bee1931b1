import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { lacksLibpq, libpqMajor, libpqNote, withoutLibpq } from "../../scripts/host/lightningd/install/libpq.ts";

test("a program that is linked without libpq lacks it; a script and a program that is not there are told elsewhere", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "twofold-libpq-"));
  const script = join(directory, "lightningd");
  writeFileSync(script, "#!/bin/sh\n", { mode: 0o755 });
  t.true(await lacksLibpq("/bin/true"));
  t.false(await lacksLibpq(script));
  t.false(await lacksLibpq(join(directory, "missing")));
  await rm(directory, { recursive: true });
});

test("the refusal of a lightningd without libpq names the program, and how to get one with it", (t) => {
  const { message } = withoutLibpq("/opt/lightningd");
  t.regex(message, /\/opt\/lightningd, which is not linked with libpq/);
  t.regex(message, /libpq-dev/);
});

test("a libpq of another major version than the servers' is told with the advice, and works", async (t) => {
  t.regex(libpqNote(15, 17) ?? "", /libpq 15.*PostgreSQL 17.*advises one version/);
  t.is(libpqNote(17, 17), undefined);
  t.is(libpqNote(undefined, 17), undefined);
  t.is(await libpqMajor("/bin/true"), undefined);
});
