import test from "ava";
import { FAILURE_IDS } from "../../components/topology/survival/row.ts";
import { survivalTable } from "../../components/topology/survival.ts";
import { nfsConfig, shaped, sshfsConfig } from "../helpers/topologies.ts";

test("no proof of a replica over sshfs counts for one over NFS, which nobody could run: every row says so", (t) => {
  const { rows } = survivalTable(shaped(nfsConfig()));
  t.deepEqual(
    rows.filter(({ cells }) => !cells.proof.startsWith("not proved: [")).map(({ failure }) => failure),
    [],
  );
  t.is(rows.length, FAILURE_IDS.length);
  t.true(survivalTable(shaped(sshfsConfig())).rows.some(({ cells }) => cells.proof.startsWith("proved 20")));
});
