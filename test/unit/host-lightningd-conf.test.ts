import test from "ava";
import fc from "fast-check";
import { nodeSchema } from "../../components/topology/schema.ts";
import type { LightningdDocument } from "../../scripts/host/contract.ts";
import { Refusal } from "../../scripts/host/stage.ts";
import { lightningdConfFiles, renderLightningdConf, walletDsn } from "../../templates/lightningd-conf.ts";
import { lightningdDocument } from "../fixtures/lightningd/document.ts";

/** The lines that lightningd takes from a config: split at \r and \n, comments and empty ones left out (configdir.c). */
function optionLines(conf: string): string[] {
  return conf.split(/[\r\n]/).filter((line) => line !== "" && !line.startsWith("#"));
}

const withOptions = (options: LightningdDocument["options"]) => lightningdDocument({ options });
const refusalOf = (options: LightningdDocument["options"]) => () => renderLightningdConf(withOptions(options));

test("network, directory and wallet come first, then the options by name, whatever their order in the topology", (t) => {
  const conf = renderLightningdConf(
    withOptions({ plugin: ["/b.py", "/a.py"], "log-level": "debug", alias: "alice #1", "clear-plugins": true }),
  );
  t.deepEqual(optionLines(conf), [
    "network=regtest",
    "lightning-dir=/srv/lightning/lightning",
    "wallet=sqlite3:///srv/lightning/lightning/regtest/lightningd.sqlite3",
    "alias=alice #1",
    "clear-plugins",
    "log-level=debug",
    "plugin=/b.py",
    "plugin=/a.py",
  ]);
});

test("whatever the topology's schema lets through becomes one line of the config, and nothing is refused so late", (t) => {
  const text = fc.oneof(fc.string({ unit: "grapheme" }), fc.stringMatching(/^\s?\S{0,3}\s?$/u));
  const value = fc.oneof(
    text,
    fc.integer(),
    fc.double({ noNaN: true }),
    fc.boolean(),
    fc.array(text, { maxLength: 3 }),
  );
  const name = fc.oneof(fc.stringMatching(/^[a-z][a-z0-9-]{0,6}$/), fc.constantFrom("alias-", "a--b", "log-level"));
  let taken = 0;
  fc.assert(
    fc.property(name, value, (option, given) => {
      if (!nodeSchema.shape.options.safeParse({ [option]: given }).success) return;
      taken += 1;
      const lines = optionLines(renderLightningdConf(withOptions({ [option]: given }))).slice(3);
      t.is(lines.length, Array.isArray(given) ? given.length : given === false && !lines[0] ? 0 : 1);
    }),
    { numRuns: 1000 },
  );
  t.true(taken > 100, `${taken} taken`);
});

test("a flag that is false is left out, an option that takes a boolean is told so", (t) => {
  const lines = optionLines(
    renderLightningdConf(withOptions({ offline: false, autolisten: false, "always-use-proxy": true })),
  );
  t.deepEqual(lines.slice(3), ["always-use-proxy=true", "autolisten=false"]);
});

test("the replica stands in the wallet line, and not in the config for degraded mode", (t) => {
  const replica = { path: "/mnt/replica/lightningd.sqlite3", peek: { kind: "local" as const } };
  const { wallet } = lightningdDocument();
  const files = lightningdConfFiles(lightningdDocument({ wallet: { ...wallet, replica } }));
  t.deepEqual(
    files.map(({ path, content }) => [path, optionLines(content)[2]]),
    [
      ["/etc/lightningd/lightningd.conf", `wallet=sqlite3://${wallet.main}:/mnt/replica/lightningd.sqlite3`],
      ["/etc/lightningd/lightningd.degraded.conf", `wallet=sqlite3://${wallet.main}`],
    ],
  );
});

test("a node without a replica has no config for degraded mode", (t) => {
  t.deepEqual(
    lightningdConfFiles(lightningdDocument()).map(({ path }) => path),
    ["/etc/lightningd/lightningd.conf"],
  );
});

test("refuses a path with a colon in the wallet line", (t) => {
  const error = t.throws(() => walletDsn("/srv/a:b/lightningd.sqlite3"), { instanceOf: Refusal });
  t.is(error?.received, "/srv/a:b/lightningd.sqlite3");
  t.throws(() => walletDsn("/srv/a.sqlite3", "~/replica.sqlite3"), { instanceOf: Refusal });
});

for (const [what, options] of Object.entries({
  "a line break": { alias: "alice\nwallet=sqlite3:///tmp/x" },
  "a carriage return": { alias: "alice\rrecover=x" },
  "a line break in a list": { plugin: ["/a.py", "/b.py\nnetwork=bitcoin"] },
  "white space at the end": { alias: "alice " },
  "a name that is a second line": { "alias=x\nwallet": "y" },
  "a comment as a name": { "#alias": "y" },
  "an option that twofold sets": { wallet: "sqlite3:///elsewhere" },
}))
  test(`refuses ${what} in an option`, (t) => {
    t.throws(refusalOf(options), { instanceOf: Refusal, message: /lightningd-option/ });
  });

test("any value is either refused or read back by lightningd as it was written", (t) => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (value) => {
      let conf: string;
      try {
        conf = renderLightningdConf(withOptions({ alias: value, rgb: "ffffff" }));
      } catch (error) {
        return error instanceof Refusal;
      }
      const lines = optionLines(conf);
      return lines.length === 5 && lines[3] === `alias=${value}` && lines[4] === "rgb=ffffff";
    }),
  );
  t.pass();
});
