import { specialAssetSig, specialSecretSig, specialSigKey, unknownValue } from "@pulumi/pulumi/runtime/rpc.js";
import test from "ava";
import fc from "fast-check";
import { checkInputs, type ObjectShape } from "../../scripts/standins/inputs.ts";
import { plain, secret } from "../../scripts/standins/wire.ts";

const shape: ObjectShape = {
  object: {
    name: "string",
    port: "number",
    mode: { oneOf: ["private", "host"] },
    adds: { list: "string" },
    tmpfs: { map: "string" },
    nested: { object: { readOnly: "boolean" }, required: ["readOnly"] },
    source: "file asset",
  },
  required: ["name"],
};

const properties = (inputs: Record<string, unknown>): string[] =>
  checkInputs(inputs, shape, "x:y:Z").map(({ property }) => property);

test("every input of its shape is taken, secret or unknown ones too", (t) => {
  const source = { [specialSigKey]: specialAssetSig, path: "/a", hash: "b" };
  const inputs = {
    name: "n",
    port: 22,
    mode: "host",
    adds: ["A"],
    tmpfs: { "/run": "" },
    nested: { readOnly: true },
    source,
  };
  t.deepEqual(properties(inputs), []);
  for (const key of Object.keys(inputs)) {
    t.deepEqual(properties({ ...inputs, [key]: secret(inputs[key as keyof typeof inputs]) }), [], `secret ${key}`);
    t.deepEqual(properties({ ...inputs, [key]: unknownValue }), [], `unknown ${key}`);
  }
});

test("refuses an input that is not in the shape by its path, at any depth", (t) => {
  t.deepEqual(properties({ name: "n", privileged: true }), ["privileged"]);
  t.deepEqual(properties({ name: "n", nested: secret({ readOnly: true, deep: 1 }) }), ["nested.deep"]);
});

test("refuses what is missing and what is of another type", (t) => {
  t.deepEqual(properties({}), ["name"]);
  const wrong = {
    name: 1,
    port: "22",
    mode: "shared",
    adds: [1],
    tmpfs: { "/run": 1 },
    nested: { readOnly: 0 },
    source: "/a",
  };
  t.deepEqual(properties(wrong), ["name", "port", "mode", "adds[0]", "tmpfs./run", "nested.readOnly", "source"]);
  t.deepEqual(properties({ name: "n", adds: "A", tmpfs: [], nested: null }), ["adds", "tmpfs", "nested"]);
});

test("a refusal does not show the value, which may be secret", (t) => {
  const failures = checkInputs(
    { name: secret({ password: "correct horse" }), stray: "battery staple" },
    shape,
    "x:y:Z",
  );
  t.is(failures.length, 2);
  t.notRegex(JSON.stringify(failures), /horse|staple/);
});

test("plain undoes secret at any depth and leaves everything else as it is", (t) => {
  const value = fc.letrec((tie) => ({
    leaf: fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null)),
    node: fc.oneof(
      { maxDepth: 4 },
      tie("leaf"),
      fc.array(tie("node"), { maxLength: 3 }),
      fc.dictionary(fc.stringMatching(/^[a-z]+$/), tie("node"), { maxKeys: 3, noNullPrototype: true }),
    ),
  })).node;
  const wrapped = (inner: unknown): unknown => {
    if (Array.isArray(inner)) return secret(inner.map(wrapped));
    if (typeof inner !== "object" || inner === null) return secret(inner);
    return secret(Object.fromEntries(Object.entries(inner).map(([key, item]) => [key, wrapped(item)])));
  };
  fc.assert(fc.property(value, (inner) => t.deepEqual(plain(wrapped(inner)), inner)));
});

test("a secret is wrapped once", (t) => {
  const once = secret("x");
  t.deepEqual(once, { [specialSigKey]: specialSecretSig, value: "x" });
  t.is(secret(once), once);
});
