import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { Refusal } from "../../scripts/host/stage.ts";
import { locateStack, type StackPlaces } from "../../scripts/verbs/locate.ts";
import { scratchDirectory } from "../helpers/scratch.ts";

/** A project folder with these stacks' configs, and labs with these names. */
function places(stacks: string[], labs: string[] = []): StackPlaces {
  const root = scratchDirectory();
  const found = { project: join(root, "project"), labs: join(root, "labs") };
  mkdirSync(found.project);
  writeFileSync(join(found.project, "Pulumi.yaml"), "name: twofold\n");
  for (const stack of stacks) {
    writeFileSync(join(found.project, `Pulumi.${stack}.yaml`), "config: {}\n");
  }
  for (const lab of labs) {
    mkdirSync(join(found.labs, lab), { recursive: true });
    writeFileSync(join(found.labs, lab, `Pulumi.${lab}.yaml`), "config: {}\n");
  }
  return found;
}

const nothing = {};

test("the only stack needs no name", (t) => {
  const own = places(["alice"]);
  t.is(locateStack({}, own, nothing), join(own.project, "Pulumi.alice.yaml"));
  const lab = places([], ["lab"]);
  t.is(locateStack({}, lab, nothing), join(lab.labs, "lab", "Pulumi.lab.yaml"));
});

test("an example is no stack", (t) => {
  const found = places(["example-sqlite", "alice"]);
  t.is(locateStack({}, found, nothing), join(found.project, "Pulumi.alice.yaml"));
});

test("-s goes before PULUMI_STACK, and both before what is there", (t) => {
  const found = places(["alice", "bob"], ["lab"]);
  const environment = { PULUMI_STACK: "bob" };
  t.is(locateStack({ stack: "lab" }, found, environment), join(found.labs, "lab", "Pulumi.lab.yaml"));
  t.is(locateStack({}, found, environment), join(found.project, "Pulumi.bob.yaml"));
});

test("a stack of the project goes before a lab of the same name", (t) => {
  const found = places(["lab"], ["lab"]);
  t.is(locateStack({ stack: "lab" }, found, nothing), join(found.project, "Pulumi.lab.yaml"));
});

test("a name with organization and project is taken by its last part", (t) => {
  const found = places(["alice", "bob"]);
  t.is(locateStack({ stack: "acme/twofold/alice" }, found, nothing), join(found.project, "Pulumi.alice.yaml"));
});

test("refuses to choose between several stacks, and names them", (t) => {
  const error = t.throws(() => locateStack({}, places(["alice"], ["lab"]), nothing), { instanceOf: Refusal });
  t.is(error.code, "stack/ambiguous");
  t.regex(error.message, /received: alice, lab[\s\S]*-s alice/);
});

test("refuses an unknown stack, and says where it looked and what there is", (t) => {
  const found = places(["alice"]);
  const error = t.throws(() => locateStack({ stack: "alcie" }, found, nothing), { instanceOf: Refusal });
  t.is(error.code, "stack/unknown");
  t.true(error.message.includes(`${found.project}/Pulumi.alcie.yaml`));
  t.true(error.message.includes("stacks found: alice"));
  const fromEnvironment = t.throws(() => locateStack({}, found, { PULUMI_STACK: "bob" }), { instanceOf: Refusal });
  t.is(fromEnvironment.received, "PULUMI_STACK=bob");
});

test("refuses to go on without any stack, and says how to get one", (t) => {
  const error = t.throws(() => locateStack({}, places([]), nothing), { instanceOf: Refusal });
  t.is(error.code, "stack/none");
  t.regex(error.fix, /npm run lab/);
});

test("--config-file is taken wherever it lies", (t) => {
  const found = places([], ["lab"]);
  const file = join(found.labs, "lab", "Pulumi.lab.yaml");
  t.is(locateStack({ configFile: file }, found, { PULUMI_STACK: "other" }), file);
});

test("refuses a --config-file that is not there", (t) => {
  const error = t.throws(() => locateStack({ configFile: "/nowhere/Pulumi.x.yaml" }, places([]), nothing));
  t.regex(error.message, /\/nowhere\/Pulumi\.x\.yaml/);
});
