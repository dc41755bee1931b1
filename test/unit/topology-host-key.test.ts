import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import fc from "fast-check";
import { hostKeyProblem } from "../../components/topology/host-key.ts";

const KINDS = [
  ["ed25519", "256"],
  ["ecdsa", "256"],
  ["ecdsa", "384"],
  ["ecdsa", "521"],
  ["rsa", "2048"],
] as const;

let keys: string[];

test.before(() => {
  const directory = mkdtempSync(join(tmpdir(), "twofold-keys-"));
  try {
    keys = KINDS.map(([type, bits]) => {
      const file = join(directory, `${type}-${bits}`);
      execFileSync("ssh-keygen", ["-q", "-t", type, "-b", bits, "-N", "", "-C", "", "-f", file]);
      return readFileSync(`${file}.pub`, "utf8").trim();
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test("every kind of key that ssh-keygen makes is whole, with and without its padding", (t) => {
  for (const key of keys) {
    t.is(hostKeyProblem(key), undefined, key);
    t.is(hostKeyProblem(key.replace(/=+$/, "")), undefined, key);
  }
});

test("refuses a key that was cut off anywhere, and one with something behind it", (t) => {
  for (const key of keys) {
    const start = key.indexOf(" ") + 1;
    const whole = key.replace(/=+$/, "");
    for (let end = start; end < whole.length; end++) t.truthy(hostKeyProblem(whole.slice(0, end)), whole.slice(0, end));
    fc.assert(
      fc.property(fc.stringMatching(/^[A-Za-z0-9+/]{1,8}$/), (more) => {
        t.truthy(hostKeyProblem(whole + more));
      }),
    );
  }
});

test("refuses a key under the name of another type", (t) => {
  for (const key of keys) {
    for (const other of keys) {
      const [type, base64] = [other.split(" ")[0], key.split(" ")[1]];
      if (key.startsWith(`${type} `)) continue;
      t.regex(hostKeyProblem(`${type} ${base64}`) ?? "", /stands before it|no whole key/);
    }
  }
});

test("refuses two keys of one type stuck together", (t) => {
  const [key = ""] = keys;
  t.truthy(hostKeyProblem(key + key.split(" ")[1]));
});

test("refuses an RSA key that no OpenSSH takes", (t) => {
  const field = (bytes: Buffer) => Buffer.concat([Buffer.from([0, 0, 0, bytes.length]), bytes]);
  const short = Buffer.concat([
    field(Buffer.from("ssh-rsa")),
    field(Buffer.from([1, 0, 1])),
    field(Buffer.alloc(96, 7)),
  ]);
  t.regex(hostKeyProblem(`ssh-rsa ${short.toString("base64")}`) ?? "", /no whole key/);
});
