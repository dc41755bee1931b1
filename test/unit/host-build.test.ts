import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import test from "ava";
import { bundleHostProgram } from "../../scripts/host/build.ts";
import { renderBootstrap } from "../../templates/bootstrap.ts";
import { fillTemplate, loadTemplate } from "../../templates/load.ts";

test.serial("the host program is one file, named and known by its hash", async (t) => {
  const { file, sha256 } = await bundleHostProgram();
  t.true(file.endsWith(`/host-${sha256}.mjs`));
  t.is(
    createHash("sha256")
      .update(await readFile(file))
      .digest("hex"),
    sha256,
  );
  // Copied to every host and read at every command: a library that comes along by mistake is seen here.
  t.true((await stat(file)).size < 600_000);
});

test.serial("the host program brings its templates and imports nothing but Node's own modules", async (t) => {
  const text = await readFile((await bundleHostProgram()).file, "utf8");
  t.true(text.includes("into-journal NAME MOUNT COMMAND"), "the first words of templates/into-journal.sh");
  const imported = [...text.matchAll(/\bimport\b[^"';]*["']([^"']+)["']/g)].map((match) => match[1] ?? "");
  t.true(imported.length > 0);
  for (const name of imported) t.true(name.startsWith("node:"), name);
  t.false(text.includes("node:sqlite"), "Node 20 has none");
});

test.serial("building twice gives the same file, without building", async (t) => {
  const first = await bundleHostProgram();
  const before = (await stat(first.file)).mtimeMs;
  t.deepEqual(await bundleHostProgram(), first);
  t.is((await stat(first.file)).mtimeMs, before);
});

test("a template without a value for a placeholder, or with one too many, is a mistake", (t) => {
  t.throws(() => fillTemplate("twofold.cron", {}), { message: /twofold\.cron has \{\{entries\}\}/ });
  t.throws(() => fillTemplate("twofold.cron", { entries: "x", other: "y" }), { message: /has no \{\{other\}\}/ });
});

test("a value is put in as it is, also where it looks like a placeholder or a pattern", (t) => {
  t.true(fillTemplate("twofold.cron", { entries: "$& {{x}}" }).includes("$& {{x}}"));
});

test("the bootstrap script holds the launcher as it is", (t) => {
  t.true(renderBootstrap().includes(`\n${loadTemplate("run.sh")}END-OF-LAUNCHER\n`));
});
