import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { readDataPlace } from "../../scripts/host/member-data.ts";

test("data is seen where it lies, and a volume that hides it is not taken for an empty place", async (t) => {
  const root = await mkdtemp(join(tmpdir(), "twofold-data-"));
  t.teardown(() => rm(root, { recursive: true }));
  const [wanted, full, empty, link] = ["wanted", "full", "empty", "link"].map((name) => join(root, name)) as [
    string,
    string,
    string,
    string,
  ];
  await Promise.all([full, empty].map((path) => mkdir(path)));
  await writeFile(join(full, "PG_VERSION"), "17\n");
  await symlink(full, link);

  t.deepEqual(await readDataPlace(undefined, wanted, [undefined, wanted]), {
    mounted: true,
    holds: false,
    elsewhere: [],
  });
  t.deepEqual(await readDataPlace(undefined, full, [full]), { mounted: true, holds: true, elsewhere: [] });
  // A symlink is the sign of data on a volume, not data.
  t.false((await readDataPlace(undefined, link, [])).holds);
  t.deepEqual((await readDataPlace(undefined, wanted, [full, empty, link])).elsewhere, [full, link]);
  t.deepEqual((await readDataPlace(undefined, wanted, ["/srv/unmounted/etcd/alice"])).elsewhere, [
    "/srv/unmounted/etcd/alice",
  ]);
  t.deepEqual((await readDataPlace(undefined, wanted, ["/var/lib/never-made/alice"])).elsewhere, []);
  t.false((await readDataPlace(root, wanted, [])).mounted);
  t.true((await readDataPlace("/proc", wanted, [])).mounted);
});
