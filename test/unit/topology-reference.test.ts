import test from "ava";
import { z } from "zod";
import { configReference } from "../../components/topology/config-reference.ts";
import { stackFileSchema } from "../../components/topology/json-schema.ts";
import { parseTopology } from "../../components/topology/parse.ts";
import { topologySchema } from "../../components/topology/schema.ts";
import { descriptionOf, unwrap } from "../../components/topology/schema-walk.ts";
import { parseStackConfig } from "../../components/topology/stack-config.ts";
import { between, GENERATED, readGenerated, SCHEMA_FILE } from "../../scripts/setup/reference.ts";
import { hostKey } from "../helpers/topologies.ts";

test("the JSON Schema file is the one that the code makes", (t) => {
  const current = readGenerated(SCHEMA_FILE);
  t.is(
    GENERATED.find(({ file }) => file === SCHEMA_FILE)?.wanted(current),
    current,
    "run: node scripts/setup/reference.ts",
  );
});

test("the JSON Schema knows the keys of a stack's file, and lets those of other programs through", (t) => {
  const schema = stackFileSchema() as {
    properties: { config: { properties: object; required: string[]; patternProperties: object } };
  };
  const { config } = schema.properties;
  t.deepEqual(Object.keys(config.properties).sort(), [
    "twofold:accept",
    "twofold:alerts",
    "twofold:allowStandins",
    "twofold:hosts",
    "twofold:lab",
    "twofold:maintenance",
    "twofold:node",
  ]);
  t.deepEqual(config.required, ["twofold:hosts", "twofold:node"]);
  const [pattern = ""] = Object.keys(config.patternProperties);
  t.true(new RegExp(pattern).test("docker:host"));
  t.false(new RegExp(pattern).test("twofold:hots"));
});

/** Every key of the schema with its path. */
function keys(path: string, schema: z.core.$ZodType): { path: string; schema: z.core.$ZodType }[] {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodObject) {
    return Object.entries(inner.shape as Record<string, z.core.$ZodType>).flatMap(([key, child]) => [
      { path: `${path}.${key}`, schema: child },
      ...keys(`${path}.${key}`, child),
    ]);
  }
  if (inner instanceof z.ZodRecord) return keys(`${path}.NAME`, inner.def.valueType);
  if (inner instanceof z.ZodArray) return keys(`${path}[]`, inner.def.element);
  if (inner instanceof z.ZodUnion) return inner.options.flatMap((option) => keys(path, option));
  return [];
}

test("every key of the config is described", (t) => {
  const all = keys("twofold", topologySchema);
  t.true(all.length > 50);
  t.deepEqual(
    all.filter(({ schema }) => descriptionOf(schema) === undefined).map(({ path }) => path),
    [],
  );
});

test("the reference has a row for every key", (t) => {
  const reference = configReference();
  for (const { path } of keys("twofold", topologySchema)) {
    t.true(reference.includes(`| \`${path.replace("twofold.", "twofold:")}\` |`), path);
  }
  t.regex(reference, /\| `twofold:hosts\.NAME\.port` \| number \| `22` \| SSH port\. \|/);
});

test("the README's example of a topology keeps every rule", (t) => {
  const [, block = ""] = /^ *```yaml\n( *config:\n[\s\S]*?)^ *```$/m.exec(readGenerated("README.md")) ?? [];
  let host = 0;
  const text = block.replace(/ssh-ed25519 AAAA…/g, () => hostKey(String(++host)));
  t.true(host > 0);
  const { config, stack } = parseStackConfig(text, "Pulumi.alice.yaml");
  const parsed = parseTopology(config, stack);
  t.deepEqual(parsed.ok ? [] : parsed.problems, []);
});

test("a generated part replaces what stands between its markers, and nothing else", (t) => {
  const text = "a\n<!-- config:begin -->\nold\n<!-- config:end -->\nb\n";
  const once = between(text, "config", "new");
  t.is(once, "a\n<!-- config:begin -->\n\nnew\n\n<!-- config:end -->\nb\n");
  t.is(between(once, "config", "new"), once);
});

test("fails on a text without the markers, naming them", (t) => {
  t.throws(() => between("a", "verbs", "x"), { message: /<!-- verbs:begin -->/ });
});
