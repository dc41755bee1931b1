import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import test from "ava";
import fc from "fast-check";
import { hostSchema } from "../../components/topology/schema.ts";
import { explainFailure, type Host, quoteWord, sshOptions } from "../../scripts/verbs/ssh.ts";
import { takeChoice } from "../../scripts/verbs/ssh-verb.ts";
import { scratchDirectory } from "../helpers/scratch.ts";
import { hostKey } from "../helpers/topologies.ts";

process.env.XDG_STATE_HOME = scratchDirectory();

const host = (extra: object = {}): Host => ({
  name: "alice",
  spec: hostSchema.parse({ address: "192.0.2.10", port: 2222, hostKey: hostKey("alice"), ...extra }),
});

/** The value of an `-o Name=value` among ssh's options. */
function option(options: string[], name: string): string | undefined {
  return options.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
}

test("only the pinned key is accepted, under the host's own name", (t) => {
  const options = sshOptions(host());
  t.is(option(options, "StrictHostKeyChecking"), "yes");
  t.is(option(options, "HostKeyAlias"), "alice");
  t.is(option(options, "GlobalKnownHostsFile"), "/dev/null");
  const file = (option(options, "UserKnownHostsFile") ?? "").replaceAll('"', "");
  t.is(readFileSync(file, "utf8"), `alice ${hostKey("alice")}\n`);
  t.deepEqual(options.slice(0, 2), ["-p", "2222"]);
});

test("another pinned key is another file, so that two stacks don't overwrite each other's", (t) => {
  const file = (name: string) => option(sshOptions(host({ hostKey: hostKey(name) })), "UserKnownHostsFile");
  t.is(file("alice"), file("alice"));
  t.not(file("alice"), file("rebuilt"));
});

test("with an identity file no other key is offered; without one the agent's are", (t) => {
  const withFile = sshOptions(host({ identityFile: "/keys/id" }));
  t.is(withFile[withFile.indexOf("-i") + 1], "/keys/id");
  t.is(option(withFile, "IdentitiesOnly"), "yes");
  t.false(sshOptions(host()).includes("-i"));
  t.is(option(sshOptions(host()), "IdentitiesOnly"), undefined);
});

const FAILURES: [said: string, code: string, fix: RegExp][] = [
  ["Host key verification failed.", "ssh/host-key", /ssh-keygen -lf .*twofold:hosts\.alice\.hostKey/],
  [
    "@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
    "ssh/host-key",
    /hostKey/,
  ],
  ["root@192.0.2.10: Permission denied (publickey).", "ssh/login", /authorized_keys/],
  [
    "Permissions 0644 for '/keys/id' are too open.\nLoad key \"/keys/id\": bad permissions\nroot@192.0.2.10: Permission denied (publickey).",
    "ssh/identity-file",
    /chmod 600/,
  ],
  [
    "ssh: connect to host 192.0.2.10 port 2222: Connection timed out",
    "ssh/unreachable",
    /ssh -p 2222 root@192\.0\.2\.10/,
  ],
  ["ssh: connect to host 192.0.2.10 port 2222: Connection refused", "ssh/unreachable", /is up/],
  ["ssh: Could not resolve hostname alice: Name or service not known", "ssh/unreachable", /is up/],
  ["", "ssh/unreachable", /is up/],
];

for (const [said, code, fix] of FAILURES) {
  test(`fails with ${code} and a fix when ssh says '${said.split("\n").at(-1)}'${said.includes("\n") ? " and more" : ""}`, (t) => {
    const refusal = explainFailure(host(), said);
    t.is(refusal.code, code);
    t.regex(refusal.fix, fix);
    t.true(refusal.message.includes("alice"));
    t.true(refusal.received.length > 0);
  });
}

test("words after the host belong to the command, but for -s and --config-file right behind it", (t) => {
  t.deepEqual(takeChoice([]), { choice: {}, words: [] });
  t.deepEqual(takeChoice(["-s", "lab", "ls", "-s", "x"]), { choice: { stack: "lab" }, words: ["ls", "-s", "x"] });
  t.deepEqual(takeChoice(["--stack=lab"]), { choice: { stack: "lab" }, words: [] });
  t.deepEqual(takeChoice(["--config-file", "f", "--", "-s"]), { choice: { configFile: "f" }, words: ["-s"] });
  t.deepEqual(takeChoice(["systemctl", "-s", "9", "kill"]), { choice: {}, words: ["systemctl", "-s", "9", "kill"] });
});

test("a word comes out of the host's shell as it went in, whatever is in it", (t) => {
  t.is(quoteWord("replica"), "replica");
  const special = fc.constantFrom(...Array.from("ab0 '\"$`\\!*?[]{}();&|<>~#=%\n\t\r-é漢"));
  const word = fc.string({ unit: special, maxLength: 12 });
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 4 }), (words) => {
      const line = ["printf", "%s\\0", ...words].map(quoteWord).join(" ");
      t.is(execFileSync("sh", ["-c", line], { encoding: "utf8" }), words.map((each) => `${each}\0`).join(""));
    }),
    { numRuns: 50 },
  );
});
